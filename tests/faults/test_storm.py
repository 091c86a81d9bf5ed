"""The acceptance of delivery: nothing is lost and every table is exact, whatever is done to the workers.

The short form runs all its storms at once on one broker, with a session of 6 s instead of 10 s. The long form
(`--long`) takes the production's timeouts, a minute a storm, one storm after the other.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.faults.storm import How, Outcome, Plan, Storm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conftest import Kafka

pytestmark = pytest.mark.broker

HOWS: tuple[How, ...] = ("term", "kill", "stop", "mix")
BACKLOG_S = 0.001
# A worker that does 1 ms of work for each record falls behind these 2,000 a second.
SHORT = (
    Plan(how="term", seed=11, slow_s=BACKLOG_S, produce_s=10),
    Plan(how="kill", seed=12, store="rocksdb"),
    Plan(how="stop", seed=13, store="rocksdb", slow_s=BACKLOG_S, produce_s=10),
    Plan(how="mix", seed=14),
    Plan(how="mix", seed=16, store="rocksdb", at_once=4, slow_s=BACKLOG_S, produce_s=10),
)
STOCK = Plan(how="term", seed=15, stock=True, slow_s=BACKLOG_S, produce_s=10, drain_s=30)
LONG = tuple(
    Plan(
        how=how,
        seed=seed,
        store=store,
        slow_s=slow_s,
        storm_s=60,
        produce_s=20 if slow_s else 47,
        events=40_000 if slow_s else 60_000,
        session_timeout_s=10,
        freeze_limit_s=8,
        gap_s=(3, 9),
        drain_s=120,
    )
    for seed, (how, store, slow_s) in enumerate(
        (how, store, slow_s) for how in HOWS for store in ("memory", "rocksdb") for slow_s in (0.0, BACKLOG_S)
    )
) + tuple(
    Plan(
        how=how,
        seed=seed,
        store="rocksdb",
        at_once=4,
        slow_s=BACKLOG_S,
        storm_s=60,
        produce_s=20,
        events=40_000,
        session_timeout_s=10,
        freeze_limit_s=8,
        gap_s=(3, 9),
        drain_s=120,
    )
    for seed, how in enumerate(HOWS, start=100)
)


@pytest.fixture(scope="module")
def short(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Outcome]:
    plans = (*SHORT, STOCK)
    with ThreadPoolExecutor(len(plans)) as threads:
        storms = [Storm(plan, kafka.bootstrap, tmp_path_factory.mktemp(str(plan))) for plan in plans]
        return dict(zip(map(str, plans), threads.map(Storm.run, storms), strict=True))


def judge(plan: Plan, outcome: Outcome) -> None:
    assert sum(outcome.stops.values()) >= 3, f"too calm for a storm: {outcome}"
    assert outcome.lost == 0, outcome
    assert outcome.wrong == 0, outcome
    assert outcome.committed == outcome.events == plan.events, outcome
    assert outcome.hung == 0, outcome
    if plan.how == "term":
        assert outcome.twice == outcome.skipped == 0, f"a graceful restart did something twice: {outcome}"


@pytest.mark.parametrize("plan", SHORT, ids=str)
def test_a_storm_loses_nothing_and_leaves_every_table_exact(plan: Plan, short: Mapping[str, Outcome]) -> None:
    judge(plan, short[str(plan)])


def test_the_same_storm_on_stock_faust_shows_a_loss_or_a_double_count(short: Mapping[str, Outcome]) -> None:
    outcome = short[str(STOCK)]
    assert outcome.lost or outcome.twice, f"a test that cannot fail proves nothing: {outcome}"
    assert outcome.wrong, outcome


@pytest.mark.long
@pytest.mark.parametrize("plan", LONG, ids=str)
def test_a_long_storm_loses_nothing_and_leaves_every_table_exact(
    plan: Plan, kafka: Kafka, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outcome = Storm(plan, kafka.bootstrap, tmp_path_factory.mktemp(str(plan))).run()
    print(plan, outcome)  # noqa: T201 - the figures are what the long form is run for
    judge(plan, outcome)
