"""Plays emissions at their times: the only place of the producers where a clock runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from producers.simulator import Emission


def pace(
    emissions: Iterable[Emission],
    *,
    start_at_ms: int,
    stopped: Callable[[float], bool],
    speed: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Emission]:
    """Yield each emission when its time has come: `start_at_ms` is now, and `speed` 2 halves what lies between.

    `stopped` waits so many seconds, and says early when the work is to end: `threading.Event().wait` is one.
    What is overdue is yielded at once, so a slow consumer is followed by a burst and not by a growing delay.
    """
    if speed <= 0:
        raise ValueError(f"speed is {speed}, must be above 0: 1 is real time, 60 plays an hour in a minute")
    begin = clock()
    for emission in emissions:
        due = begin + (emission.due_at_ms - start_at_ms) / 1000 / speed
        while (wait_s := due - clock()) > 0:
            if stopped(wait_s):
                return
        if stopped(0):
            return
        yield emission
