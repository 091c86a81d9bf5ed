"""The timers of one topic in the order in which they are to fire. Pure."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

_turns = count()


class Pending(msgspec.Struct, frozen=True, gc=False):
    """A timer as memory holds it: its row in the table is `raw`."""

    timer_id: bytes
    partition: int
    due_at_ms: int
    raw: bytes


class TimerQueue:
    """By time, then by turn. An entry whose timer is not in `pending` any more, as the same object, is void."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Pending]] = []
        self.busy = False

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def next_ms(self) -> int:
        return self._heap[0][0]

    def add(self, at_ms: int, timer: Pending) -> None:
        heapq.heappush(self._heap, (at_ms, next(_turns), timer))

    def take(self, now_ms: int, at_most: int, pending: Mapping[bytes, Pending]) -> list[Pending]:
        """Take out what is due."""
        due: list[Pending] = []
        while self._heap and self._heap[0][0] <= now_ms and len(due) < at_most:
            timer = heapq.heappop(self._heap)[2]
            if pending.get(timer.timer_id) is timer:
                due.append(timer)
        return due

    def keep(self, pending: Mapping[bytes, Pending]) -> None:
        """Drop the void entries."""
        self._heap = [entry for entry in self._heap if pending.get(entry[2].timer_id) is entry[2]]
        heapq.heapify(self._heap)
