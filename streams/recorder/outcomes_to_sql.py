"""Outcome topics → SQL: rows and offsets in one transaction, so that a batch that is read again changes nothing.

`routes.py` says what is written. This flow prepares and writes batches, waits while the database is away, and sets
records aside that cannot be used.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import structlog

from streams.engine.consumer import Stale
from streams.recorder.availability import must_go, waits_s
from streams.recorder.failures import QUARANTINED, REFUSED, UNREADABLE, unusable
from streams.recorder.rows import Incoming, NotYetError
from streams.recorder.transaction import AWAY, BehindError, Prepared, RefusedError, Written, write

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from streams.engine.consumer import Batch, Record
    from streams.recorder.availability import Availability
    from streams.recorder.counts import Counts
    from streams.recorder.rows import Route

log = structlog.get_logger(__name__)

SMALLEST = 100


class TooLongError(Exception):
    """A transaction took too long, and has enough records to try half of them."""


class Recorder:
    """The flow of one topic."""

    def __init__(
        self,
        engine: AsyncEngine,
        route: Route,
        availability: Availability,
        counts: Counts,
        *,
        rewind: Callable[[str, int, int, int], Awaitable[bool]],
        try_limit_s: float,
        build: str,
    ) -> None:
        self._engine = engine
        self._route = route
        self._availability = availability
        self._counts = counts
        self._rewind = rewind
        self._try_limit_s = try_limit_s
        self._build = build

    async def handle(self, batch: Batch) -> None:
        await self._record(batch, [self._prepare(record) for record in batch.records])

    async def set_aside(self, batch: Batch, why: str) -> None:
        """Write the row of the one record of `batch`, on which our code fails, and move behind it."""
        record = Incoming.of(batch.records[0], self._route.topic)
        await self._until_written(batch, [self._unusable(record, QUARANTINED, QUARANTINED, why, self._build)])

    def _prepare(self, record: Record) -> Prepared:
        incoming = Incoming.of(record, self._route.topic)
        try:
            return Prepared(incoming, self._route.rows(incoming))
        except msgspec.MsgspecError as error:
            return self._unusable(incoming, UNREADABLE, UNREADABLE, str(error))

    def _unusable(self, record: Incoming, reason: str, code: str, why: str, build: str = "") -> Prepared:
        log.error("recorder.unusable", topic=record.topic, partition=record.partition, offset=record.offset, why=why)
        self._counts.unusable[record.topic, reason] += 1
        return Prepared(record, (unusable(record, reason, code, why, build),))

    async def _record(self, batch: Batch, prepared: Sequence[Prepared]) -> None:
        """Write; if the database refuses a row, halve until it is alone, and write its dead letter instead.

        A batch that takes too long is halved too, though not as far: a slow database copes with small transactions.
        """
        middle = len(prepared) // 2
        try:
            await self._until_written(batch, prepared)
        except TooLongError:
            await self._record(batch, prepared[:middle])
            await self._record(batch, prepared[middle:])
        except RefusedError as refused:
            if middle:
                await self._record(batch, prepared[:middle])
                await self._record(batch, prepared[middle:])
            else:
                dead = self._unusable(prepared[0].record, REFUSED, refused.code, refused.why)
                await self._until_written(batch, [dead])

    async def _until_written(self, batch: Batch, prepared: Sequence[Prepared]) -> None:
        """Raises Stale if the partition must go before the database is back, or is read again.

        Raises RefusedError and TooLongError; a part of the records may then succeed.
        """
        gap_from = None
        waits = waits_s()
        too_long = False
        while True:
            try:
                async with asyncio.timeout(self._try_limit_s):
                    written = await write(self._engine, self._route, prepared, gap_from=gap_from)
            except RefusedError:
                self._availability.answered(self._route.topic.name)
                raise
            except BehindError as behind:
                self._availability.answered(self._route.topic.name)
                gap_from = await self._go_back(batch, prepared[0].record.offset, behind.next_offset)
                continue
            except NotYetError:
                self._availability.answered(self._route.topic.name)
            except AWAY as error:
                self._availability.failed(self._route.topic.name, error)
                too_long = isinstance(error, TimeoutError) and len(prepared) > SMALLEST
            else:
                self._availability.answered(self._route.topic.name)
                self._count(prepared, written)
                return
            if await must_go(batch, next(waits)):
                # It may still be away; the next owner will find out.
                self._availability.answered(self._route.topic.name)
                raise Stale
            if too_long:
                raise TooLongError

    async def _go_back(self, batch: Batch, found: int, wanted: int) -> int:
        """Read the partition again from the offset that SQL expects; returns it if there is nothing to read."""
        if await self._rewind(self._route.topic.name, batch.partition, wanted, found):
            raise Stale
        if wanted and not self._route.topic.compacted:
            # The broker deleted them before they were recorded.
            log.error("recorder.gap", topic=batch.topic, partition=batch.partition, expected=wanted, found=found)
        return wanted

    def _count(self, prepared: Sequence[Prepared], written: Written) -> None:
        topic = self._route.topic.name
        self._counts.records[topic] += len(prepared) - written.skipped
        self._counts.skipped[topic] += written.skipped
        self._counts.rows.update(written.rows)
