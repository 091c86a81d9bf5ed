"""What a seed stands for: how much work there is, and which faults come when. Whatever shrinks is a field here."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from tests.simulation.schedules import Schedule, schedule_for

WORK_S = 10.0


class Fault(NamedTuple):
    """`kind` names a method of `Faults`; `target` and `size` mean what the kind makes of them."""

    at_s: float
    kind: str
    target: int
    size: float


class Plan(NamedTuple):
    """The input of a run."""

    seed: int
    workers: int
    partitions: int
    keys: int
    per_key: int
    # Records of the topic that is worked side by side, in no order.
    loose: int
    # A flow waits up to so long between its steps, and gives one batch in so many back (0: none).
    flow_delay_s: float
    stale_one_in: int
    # What the brokers answer within so long reaches everybody at once, as when a loop reads several sockets.
    at_once_s: float
    faults: tuple[Fault, ...]

    def schedule(self) -> Schedule:
        return schedule_for(Random(f"{self.seed}/scheduler"))


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
}


def plan_of(seed: int) -> Plan:
    """Every kind of fault is left out of some seeds, so that each also shows without the others."""
    rng = Random(f"{seed}/workload")
    kinds = [kind for kind in KINDS if rng.random() < 0.5]
    weights = [KINDS[kind] for kind in kinds]
    count = rng.choice((0, 2, 4, 8)) if kinds else 0
    faults = sorted(
        Fault(
            round(rng.uniform(0.5, WORK_S), 3),
            rng.choices(kinds, weights)[0],
            rng.randrange(12),
            round(rng.random(), 3),
        )
        for _ in range(count)
    )
    return Plan(
        seed=seed,
        workers=rng.randint(1, 3),
        partitions=rng.randint(1, 4),
        keys=rng.randint(1, 6),
        per_key=5 * rng.randint(1, 8),
        loose=rng.choice((0, 0, 20, 60)),
        flow_delay_s=rng.choice((0.0, 0.0, 0.05, 0.4)),
        stale_one_in=rng.choice((0, 0, 4, 10)),
        at_once_s=rng.choice((0.0, 0.005, 0.02, 0.1)),
        faults=tuple(faults),
    )
