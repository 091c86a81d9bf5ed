"""From a seed that fails to the least that fails: fewer faults, less work, fewer choices that are not first come."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from tests.simulation.schedules import Recorded
from tests.simulation.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.simulation.scenario import AnyPlan
    from tests.simulation.simulate import Outcome

T = TypeVar("T")


class Shrunk(NamedTuple):
    """`turns`: at these choices of the schedule another task than the first goes on."""

    plan: AnyPlan
    turns: dict[int, int]
    outcome: Outcome


def shrink(plan: AnyPlan, *, tries: int = 300) -> Shrunk:
    """The plan must fail. The failure may become another one on the way: any broken invariant counts."""
    outcome = simulate(plan)
    if outcome.failure is None:
        raise ValueError(f"seed {plan.seed} does not fail")
    best = Shrunk(plan, outcome.turns, outcome)
    left = tries

    def attempt(plan: AnyPlan, turns: dict[int, int]) -> bool:
        nonlocal best, left
        if left <= 0:
            return False
        left -= 1
        outcome = simulate(plan, Recorded(turns))
        if outcome.failure is None:
            return False
        best = Shrunk(plan, turns, outcome)
        return True

    progress = True
    while progress and left > 0:
        progress = attempt(best.plan, {}) if best.turns else False
        faults = list(best.plan.faults)
        kept = without(faults, lambda some: attempt(replace(best.plan, faults=tuple(some)), best.turns))
        progress |= len(kept) < len(faults)
        for smaller in best.plan.smaller():
            progress |= attempt(smaller, best.turns)
        choices = sorted(best.turns.items())
        kept_choices = without(choices, lambda some: attempt(best.plan, dict(some)))
        progress |= len(kept_choices) < len(choices)
    return Shrunk(best.plan, best.turns, simulate(best.plan, Recorded(best.turns), trace=True))


def without(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> Sequence[T]:
    """Leave out halves, quarters, and so on, for as long as it still fails without them."""
    size = (len(items) + 1) // 2
    while size and items:
        start = 0
        while start < len(items):
            some = [*items[:start], *items[start + size :]]
            if fails(some):
                items = some
            else:
                start += size
        size = size // 2
    return items


def report(shrunk: Shrunk) -> str:
    """For people: what failed, with what, and all that happened."""
    plan = shrunk.plan
    return "\n".join(
        [
            f"seed {plan.seed}: {shrunk.outcome.failure}",
            f"  {replace(plan, faults=())}",
            *(f"  {fault.at_s:7.3f} s  {fault.kind} {fault.target} {fault.size}" for fault in plan.faults),
            f"  {len(shrunk.turns)} choices are not first come, first served; {shrunk.outcome.steps:,} steps",
            *(f"    {line}" for line in shrunk.outcome.trace),
        ]
    )
