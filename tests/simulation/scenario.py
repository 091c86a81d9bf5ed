"""What differs between the simulated systems: the flows under test, their input, and what must hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tests.simulation.schedules import schedule_for

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence

    from tests.simulation.schedules import Schedule
    from tests.simulation.worker import Worker
    from tests.simulation.world import World


class Fault(NamedTuple):
    """`kind` names a method of `Faults` or of the scenario; `target` and `size` mean what the kind makes of them."""

    at_s: float
    kind: str
    target: int
    size: float


class Scenario(Protocol):
    """One run of a system. `topics` are those that its group reads; `seekable` those that may be read again by hand."""

    topics: Sequence[str]
    seekable: Sequence[str]
    outputs: Sequence[str]
    tables: Sequence[str]
    send_limit_s: float
    # Faults of its own, by kind.
    faults: Mapping[str, Callable[[int, float], None]]

    def parts(self, worker: Worker) -> Sequence[Coroutine[Any, Any, None]]:
        """What a process runs beside its membership."""

    async def produce(self) -> None: ...
    def look(self) -> None:
        """Called now and then, for what an operator does."""

    def heal(self) -> None:
        """From now on nothing goes wrong that is the scenario's own."""

    def what_is_missing(self) -> str:
        """Empty when everything has come to its end."""

    def check(self) -> None:
        """Raises an AssertionError where something does not hold at the end."""


@dataclass(frozen=True, kw_only=True)
class AnyPlan:
    """What a seed stands for: how much work there is, and which faults come when. Whatever shrinks is a field."""

    seed: int
    workers: int
    partitions: int
    # What the brokers answer within so long reaches everybody at once, as when a loop reads several sockets.
    at_once_s: float
    faults: tuple[Fault, ...]

    @property
    def liveliness_s(self) -> float:
        """Everything has come to its end so long after the last fault.

        A worker whose session has to run out first, and a send that waits its 30 s, fit in.
        """
        return 180.0

    def schedule(self) -> Schedule:
        return schedule_for(Random(f"{self.seed}/scheduler"))

    def scenario(self, world: World) -> Scenario:
        raise NotImplementedError

    def smaller(self) -> Iterator[AnyPlan]:
        """Plans with less of something else than faults."""
        for workers in range(1, self.workers):
            yield replace(self, workers=workers)
        for partitions in range(1, self.partitions):
            yield replace(self, partitions=partitions)


def some_faults(rng: Random, weights: Mapping[str, int], within_s: float) -> tuple[Fault, ...]:
    """Every kind is left out of some seeds, so that each also shows without the others."""
    kinds = [kind for kind in weights if rng.random() < 0.5]
    count = rng.choice((0, 2, 4, 8)) if kinds else 0
    return tuple(
        sorted(
            Fault(
                round(rng.uniform(0.5, within_s), 3),
                rng.choices(kinds, [weights[kind] for kind in kinds])[0],
                rng.randrange(12),
                round(rng.random(), 3),
            )
            for _ in range(count)
        )
    )
