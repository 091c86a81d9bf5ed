"""The engine keeps its promises under every schedule and fault that a seed makes of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.simulation.plan import KINDS
from tests.simulation.shrink import report, shrink
from tests.simulation.simulate import PLANS, simulate
from tests.simulation.sms.plan import KINDS as SMS_KINDS
from tests.simulation.sms.provider import LIES
from tests.simulation.sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")

SEEDS = 1_000
LONG_SEEDS = 100_000
SMS_SEEDS = 200
LONG_SMS_SEEDS = 10_000
REPLAYED = 50
# Conditions that runs are worth nothing without. Each must be met in so many seeds.
LEAST = 3
RARE = ("returned", "sought", "void", "worker killed", "worker frozen", "worker terminated", "compacted")
RARE_OF_SMS = (
    *("returned", "worker killed", "worker frozen", "worker terminated", "reminders", "taken again"),
    *(
        f"outcome {tag}"
        for tag in ("unknown", "dead", "named", "rate_limited", "cancelled", "unconfirmed", "delivered")
    ),
)


def run_seeds(what: str, first: int, count: int) -> Counter[str]:
    """In all processors. What fails is shrunk and shown."""
    covered: Counter[str] = Counter()
    for chunk in sweep(what, first, count):
        for seed in chunk.failures:
            pytest.fail(report(shrink(PLANS[what](seed))), pytrace=False)
        covered.update(chunk.covered)
    return covered


def too_rare(covered: Counter[str], conditions: Iterable[str]) -> dict[str, int]:
    return {name: covered[name] for name in conditions if covered[name] < LEAST}


def test_every_invariant_holds_under_every_seed_and_every_rare_condition_occurs() -> None:
    covered = run_seeds("engine", 0, SEEDS)
    assert not too_rare(covered, (*RARE, *(f"fault {kind}" for kind in KINDS))), dict(covered)


def test_no_sms_is_lost_or_repeated_whatever_the_provider_says() -> None:
    covered = run_seeds("sms", 0, SMS_SEEDS)
    conditions = (*RARE_OF_SMS, *(f"fault {kind}" for kind in SMS_KINDS), *(f"provider {lie}" for lie in LIES))
    assert not too_rare(covered, conditions), dict(covered)


@pytest.mark.long
@pytest.mark.parametrize("part", range(10))
def test_every_invariant_holds_under_very_many_seeds(part: int) -> None:
    run_seeds("engine", SEEDS + part * LONG_SEEDS // 10, LONG_SEEDS // 10)


@pytest.mark.long
def test_no_sms_is_lost_or_repeated_under_many_seeds() -> None:
    run_seeds("sms", SMS_SEEDS, LONG_SMS_SEEDS)


@pytest.mark.parametrize(("what", "count"), [("engine", REPLAYED), ("sms", REPLAYED // 5)])
def test_a_seed_is_the_same_run_in_any_process(what: str, count: int) -> None:
    """String hashes, addresses and what ran before make no difference."""

    def hashes(hash_seed: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.simulation.simulate", "--what", what, "--count", str(count)]
        env = os.environ | {"PYTHONHASHSEED": hash_seed}
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)

    processes = [hashes("1"), hashes("2")]
    first, second = (process.communicate(timeout=240)[0].splitlines() for process in processes)
    here = [simulate(PLANS[what](seed)).digest for seed in range(count)]
    assert len(first) == count
    assert first == second
    assert [line.split()[1] for line in first] == here
    # And once more in the same process, behind all the others.
    assert simulate(PLANS[what](0)).digest == here[0]
