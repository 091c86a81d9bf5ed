"""What a seed of the SMS simulation stands for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from tests.simulation.scenario import AnyPlan, some_faults
from tests.simulation.sms.provider import LIES
from tests.simulation.sms.run import WORK_S, SmsRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.scenario import Scenario
    from tests.simulation.world import World

KINDS = {
    "kill": 4,
    "freeze": 4,
    "rebalance": 4,
    "leaderless": 2,
    "slow": 3,
    "lossy": 2,
    "compact": 2,
    "marker": 1,
    "terminate": 3,
    "deaf": 3,
    "wipe": 1,
    "cut_off": 3,
}


@dataclass(frozen=True, kw_only=True)
class SmsPlan(AnyPlan):
    alerts: int
    people: int
    # Lies of the provider, and how often it tells one.
    lies: tuple[str, ...]
    lie_one_in: int
    # Whether webhooks reach us, and whether the window's plain rule holds.
    receipts: bool
    strict: bool

    @property
    def liveliness_s(self) -> float:
        """Status polls are the longest: three, a minute apart."""
        return 400.0

    def scenario(self, world: World) -> Scenario:
        return SmsRun(world, self)

    def smaller(self) -> Iterator[AnyPlan]:
        yield from super().smaller()
        for alerts in range(1, self.alerts):
            yield replace(self, alerts=alerts)
        for people in range(1, self.people):
            yield replace(self, people=people)
        for lie in self.lies:
            yield replace(self, lies=tuple(other for other in self.lies if other != lie))


def sms_plan_of(seed: int) -> SmsPlan:
    rng = Random(f"{seed}/sms")
    return SmsPlan(
        seed=seed,
        faults=some_faults(rng, KINDS, WORK_S),
        workers=rng.randint(1, 3),
        partitions=rng.randint(1, 3),
        alerts=rng.randint(1, 10),
        people=rng.randint(1, 4),
        lies=tuple(lie for lie in LIES if rng.random() < 0.5),
        lie_one_in=rng.choice((1, 2, 3)),
        receipts=rng.random() < 0.75,
        strict=rng.random() < 0.25,
        at_once_s=rng.choice((0.0, 0.005, 0.02, 0.1)),
    )
