"""A process that was frozen ends before it sends anything.

After SIGSTOP, or in a virtual machine that was paused, a worker wakes up in the middle of a batch and does not know
that others took its partitions. What it would still publish is stale, and in a changelog the newest record counts. So
the pause is measured, and checked before every request to Kafka and before every effect outside.

It cannot stop what already lay in the kernel's socket buffer; applied offsets are there for that.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from aiokafka.conn import AIOKafkaConnection

if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_CODE = 75
TICKS_PER_LIMIT = 16

Clocks = tuple[float, ...]

# macOS has no CLOCK_BOOTTIME; its CLOCK_MONOTONIC counts the time asleep as well (clock_gettime(3) there).
SINCE_BOOT: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def read_clocks() -> Clocks:
    """Seconds by clocks that go on while this process does not.

    The clock since boot counts SIGSTOP and a suspended machine. Inside a virtual machine that was paused it may stand
    still as well, and only the wall clock jumps when it is set right; a wall clock that jumps for another reason costs
    no more than a restart.
    """
    return time.clock_gettime(SINCE_BOOT), time.time()


def _end_process(pause_s: float) -> None:
    sys.__stderr__.write(f"frozen for {pause_s:.1f} s, ending: others may have the partitions by now\n")  # type: ignore[union-attr]
    sys.__stderr__.flush()  # type: ignore[union-attr]
    os._exit(EXIT_CODE)


class FreezeGuard:
    """Remembers when this process last ran; `check` calls `end` when that is longer ago than `limit_s`."""

    def __init__(
        self,
        limit_s: float,
        clocks: Callable[[], Clocks] = read_clocks,
        end: Callable[[float], None] = _end_process,
    ) -> None:
        self.limit_s = limit_s
        self._clocks = clocks
        self._end = end
        self._last = clocks()

    def check(self) -> Clocks:
        """End the process if it was frozen; gives the time at which it was looked."""
        now = self._clocks()
        pause_s = max(a - b for a, b in zip(now, self._last, strict=True))
        if pause_s > self.limit_s:
            self._end(pause_s)
        return now

    def tick(self) -> None:
        """Called many times within the limit for as long as the process runs."""
        # The time that was compared is the one to keep: a freeze between two readings of the clock would be missed.
        self._last = self.check()

    def watch(self) -> None:
        def run() -> None:
            while True:
                time.sleep(self.limit_s / TICKS_PER_LIMIT)
                self.tick()

        threading.Thread(target=run, name="freeze guard", daemon=True).start()


_guard: FreezeGuard | None = None


def install(limit_s: float) -> None:
    """Guard this process from now on; a second call changes nothing but the limit."""
    global _guard  # noqa: PLW0603 - a process is frozen as a whole
    if _guard is not None:
        _guard.limit_s = limit_s
        return
    _guard = FreezeGuard(limit_s)
    send = AIOKafkaConnection.send

    def guarded(self: AIOKafkaConnection, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        end_if_frozen()
        return send(self, *args, **kwargs)

    AIOKafkaConnection.send = guarded
    _guard.watch()


def end_if_frozen() -> None:
    """End the process if it was frozen for longer than the limit; nothing where no guard was installed."""
    if _guard is not None:
        _guard.check()
