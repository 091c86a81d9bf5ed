"""The simulator finds planted bugs, and shrinks what it found. `python -m tests.simulation.hunt` prints the table."""

from __future__ import annotations

import pytest

from tests.simulation.hunt import ALL_MUTATIONS, TABLE, hunt
from tests.simulation.mutations import MUTATIONS, Mutation, planted
from tests.simulation.plan import plan_of
from tests.simulation.shrink import report, shrink
from tests.simulation.simulate import simulate

pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")

LEAST_MUTATIONS = 20
QUICK = 20


def named(word: str) -> Mutation:
    return next(mutation for mutation in MUTATIONS if word in mutation.name)


def test_every_planted_bug_still_fits_the_engine() -> None:
    assert len(MUTATIONS) >= LEAST_MUTATIONS
    for mutation in ALL_MUTATIONS:
        with planted(mutation):
            pass


def test_the_table_has_a_row_for_every_planted_bug() -> None:
    rows = [line.split(" | ") for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][2:]
    assert [row[0].removeprefix("| ") for row in rows] == [mutation.name for mutation in ALL_MUTATIONS]


@pytest.mark.long
@pytest.mark.parametrize("mutation", ALL_MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_planted_bug_is_found_within_two_thousand_seeds(mutation: Mutation) -> None:
    assert hunt(mutation).seeds is not None


def test_a_failing_seed_shrinks_to_a_short_schedule_that_still_fails() -> None:
    mutation = named("commits do not wait for sends")
    with planted(mutation):
        # One that fails first come, first served has nothing to shrink.
        seed, full = next(
            (seed, full)
            for seed in range(QUICK)
            if (full := simulate(plan_of(seed))).failure and 0 < len(full.turns) < 100
        )
        shrunk = shrink(plan_of(seed), tries=60)
    assert shrunk.outcome.failure
    assert len(shrunk.plan.faults) <= len(plan_of(seed).faults)
    assert shrunk.outcome.steps < full.steps or len(shrunk.turns) < len(full.turns)
    assert f"seed {seed}" in report(shrunk)
