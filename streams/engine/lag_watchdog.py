"""Ends a worker that has work and makes no progress, so that the group goes on without it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

import structlog
from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from faust.types import TP

    from streams.engine.broker_client import BrokerClient
    from streams.engine.partition import OffsetRange, Partition

log = structlog.get_logger(__name__)

LOOK_LIMIT_S = 10.0


class StalledError(RuntimeError):
    """Partitions have had work and no progress for too long."""


class Mark(NamedTuple):
    """Where a partition stood, and what it waited for: its next records, or the flow that has its oldest batch."""

    position: int
    oldest: OffsetRange | None
    seen_at: float


class LagWatchdog:
    """Of the partitions of one assignment.

    A partition has work if the broker has records behind its position, or a flow has a batch of it in hand. A flow
    that waits for something on purpose (a rate limit, a database that is away) asks its batch whether it must end
    while it does; that counts as progress. So does nothing where the broker itself does not answer.
    """

    def __init__(
        self, client: BrokerClient, partitions: Mapping[TP, Partition], limit_s: float, counts: Counter[str]
    ) -> None:
        self._client = client
        self._partitions = partitions
        self._limit_s = limit_s
        self._counts = counts
        self._marks: dict[TP, tuple[Mark, float]] = {}

    async def run(self) -> None:
        """Until it is cancelled; raises StalledError."""
        while True:
            await asyncio.sleep(self._limit_s / 6)
            await self.look()

    async def look(self) -> None:
        try:
            found = await self._client.offsets(self._partitions.keys(), limit_s=LOOK_LIMIT_S)
        except (TimeoutError, KafkaError) as error:
            log.warning("watchdog.waiting", error=repr(error))
            self._marks.clear()
            return
        now = time.monotonic()
        stalled = [tp for tp, offsets in found.items() if self._stalled_s(tp, offsets.end, now) >= self._limit_s]
        for tp in stalled:
            self._counts["stalled"] += 1
            self._report(tp, found[tp].end)
        if stalled:
            raise StalledError(
                f"{len(stalled)} partitions have had work and no progress for {self._limit_s:g} s; the worker ends, and"
                " what is not completed is read again"
            )

    def _stalled_s(self, tp: TP, end: int, now: float) -> float:
        partition = self._partitions[tp]
        oldest = partition.oldest
        # Records that wait for room in their topic have their turn when the batches in hand have had theirs.
        if oldest is None and (partition.position >= end or partition.has_records):
            self._marks.pop(tp, None)
            return 0.0
        mark = Mark(partition.position if oldest is None else -1, oldest, 0.0 if oldest is None else oldest.seen_at)
        known = self._marks.get(tp)
        if known is None or known[0] != mark:
            self._marks[tp] = mark, now
            return 0.0
        return now - known[1]

    def _report(self, tp: TP, end: int) -> None:
        partition = self._partitions[tp]
        log.error(
            "partition.stalled",
            topic=tp.topic,
            partition=tp.partition,
            completed=partition.completed,
            position=partition.position,
            end=end,
            in_hand=partition.in_hand,
            limit_s=self._limit_s,
        )
