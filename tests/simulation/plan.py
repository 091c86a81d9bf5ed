"""What a seed of the engine's simulation stands for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from tests.simulation.folding_run import WORK_S, FoldingRun
from tests.simulation.scenario import AnyPlan, some_faults

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.scenario import Scenario
    from tests.simulation.world import World

KINDS = {
    "kill": 3,
    "freeze": 3,
    "rebalance": 4,
    "leaderless": 3,
    "slow": 3,
    "lossy": 3,
    "compact": 3,
    "marker": 2,
    "retain": 1,
    "clock": 1,
    "terminate": 3,
    "deaf": 2,
    "seek": 2,
    "wipe": 1,
    "cut_off": 3,
    "expire": 2,
    "truncate": 1,
}


@dataclass(frozen=True, kw_only=True)
class Plan(AnyPlan):
    keys: int
    per_key: int
    # Records of the topic that is worked side by side, in no order.
    loose: int
    # A flow waits up to so long between its steps, and gives one batch in so many back (0: none).
    flow_delay_s: float
    stale_one_in: int
    send_limit_s: float

    def scenario(self, world: World) -> Scenario:
        return FoldingRun(world, self)

    def smaller(self) -> Iterator[AnyPlan]:
        yield from super().smaller()
        for keys in range(1, self.keys):
            yield replace(self, keys=keys)
        for per_key in range(5, self.per_key, 5):
            yield replace(self, per_key=per_key)


def plan_of(seed: int) -> Plan:
    rng = Random(f"{seed}/workload")
    return Plan(
        seed=seed,
        faults=some_faults(rng, KINDS, WORK_S),
        workers=rng.randint(1, 3),
        partitions=rng.randint(1, 4),
        keys=rng.randint(1, 6),
        per_key=5 * rng.randint(1, 8),
        loose=rng.choice((0, 0, 20, 60)),
        flow_delay_s=rng.choice((0.0, 0.0, 0.05, 0.4)),
        stale_one_in=rng.choice((0, 0, 4, 10)),
        send_limit_s=rng.choice((6.0, 30.0)),
        at_once_s=rng.choice((0.0, 0.005, 0.02, 0.1)),
    )
