"""Which ready task runs next: first come first served, uniformly at random, by priorities, or as recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

# PCT starves tasks of a low priority on purpose; after so many steps it is a task's turn all the same.
PATIENCE_STEPS = 300


class Schedule(Protocol):
    """`ready` holds the ids of the tasks that can run, the longest waiting first; at least two."""

    name: str

    def choose(self, ready: Sequence[int]) -> int:
        """Returns an index of `ready`."""
        ...


class Fifo:
    """What asyncio itself does; what fails under it fails in production too."""

    name = "first come"

    def choose(self, ready: Sequence[int]) -> int:
        return 0


class Uniform:
    """Every ready task is equally likely."""

    name = "uniform"

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def choose(self, ready: Sequence[int]) -> int:
        return int(self._rng.random() * len(ready))


class Pct:
    """Probabilistic concurrency testing (Burckhardt et al., ASPLOS 2010).

    Each task gets a random priority and the highest runs; at `depth - 1` random choices the running task falls below
    all others. It finds a bug that needs `depth` ordered events with probability 1 / (tasks * steps ** (depth - 1)).
    """

    def __init__(self, rng: Random, *, depth: int, steps: int) -> None:
        self.name = f"PCT, depth {depth}"
        self._rng = rng
        self._changes = {rng.randrange(steps) for _ in range(depth - 1)}
        self._priorities: dict[int, float] = {}
        self._choices = 0
        self._lowest = 0.0
        self._passed_over: dict[int, int] = {}

    def choose(self, ready: Sequence[int]) -> int:
        self._choices += 1
        priorities = self._priorities
        for task in ready:
            if task not in priorities:
                priorities[task] = 1.0 + self._rng.random()
        if (waited := self._passed_over.get(ready[0], 0)) > PATIENCE_STEPS:
            self._passed_over[ready[0]] = 0
            return 0
        self._passed_over[ready[0]] = waited + 1
        best = max(range(len(ready)), key=lambda index: priorities[ready[index]])
        if self._choices in self._changes:
            self._lowest -= 1.0
            priorities[ready[best]] = self._lowest
        return best


class Recorded:
    """Runs a schedule again: at the choices of `turns` the task given there, else the first."""

    name = "recorded"

    def __init__(self, turns: Mapping[int, int]) -> None:
        self._turns = turns
        self._choices = 0

    def choose(self, ready: Sequence[int]) -> int:
        index = self._turns.get(self._choices, 0)
        self._choices += 1
        return min(index, len(ready) - 1)


class Recording:
    """Notes every choice of another schedule that is not the first task."""

    def __init__(self, schedule: Schedule) -> None:
        self.name = schedule.name
        self._schedule = schedule
        self._choices = 0
        self.turns: dict[int, int] = {}

    def choose(self, ready: Sequence[int]) -> int:
        index = self._schedule.choose(ready)
        if index:
            self.turns[self._choices] = index
        self._choices += 1
        return index


# A run has about 130 choices to make, the longest 400. Changes that come after the last of them change nothing.
CHOICES = (40, 130, 400)


def schedule_for(rng: Random) -> Schedule:
    """A seed's schedule: a fifth first come first served, two fifths uniform, two fifths PCT of depth 2 to 5."""
    kind = rng.random()
    if kind < 0.2:
        return Fifo()
    if kind < 0.6:
        return Uniform(rng)
    return Pct(rng, depth=rng.randint(2, 5), steps=rng.choice(CHOICES))
