"""The engine keeps its promises under every schedule and fault that a seed makes of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.simulation.plan import KINDS, plan_of
from tests.simulation.shrink import report, shrink
from tests.simulation.simulate import simulate
from tests.simulation.sweep import sweep

pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")

SEEDS = 1_000
LONG_SEEDS = 100_000
REPLAYED = 50
# Conditions that a run is worth nothing without; each must be met.
RARE = ("returned", "sought", "void", "worker killed", "worker frozen", "worker terminated", "compacted")


def run_seeds(what: str, first: int, count: int) -> Counter[str]:
    """In all processors. What fails is shrunk and shown."""
    covered: Counter[str] = Counter()
    for chunk in sweep(what, first, count):
        for seed in chunk.failures:
            pytest.fail(report(shrink(plan_of(seed))), pytrace=False)
        covered.update(chunk.covered)
    return covered


def test_every_invariant_holds_under_every_seed_and_every_rare_condition_occurs() -> None:
    covered = run_seeds("engine", 0, SEEDS)
    missing = [name for name in (*RARE, *(f"fault {kind}" for kind in KINDS)) if not covered[name]]
    assert not missing, f"too rare to rely on: {missing} of {dict(covered)}"


@pytest.mark.long
@pytest.mark.parametrize("part", range(10))
def test_every_invariant_holds_under_very_many_seeds(part: int) -> None:
    run_seeds("engine", SEEDS + part * LONG_SEEDS // 10, LONG_SEEDS // 10)


def test_a_seed_is_the_same_run_in_any_process() -> None:
    """String hashes, addresses and what ran before make no difference."""

    def hashes(hash_seed: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.simulation.simulate", "--count", str(REPLAYED)]
        env = os.environ | {"PYTHONHASHSEED": hash_seed}
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)

    processes = [hashes("1"), hashes("2")]
    first, second = (process.communicate(timeout=240)[0].splitlines() for process in processes)
    here = [simulate(plan_of(seed)).digest for seed in range(REPLAYED)]
    assert len(first) == REPLAYED
    assert first == second
    assert [line.split()[1] for line in first] == here
