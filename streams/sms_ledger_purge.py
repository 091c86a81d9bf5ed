"""Deletes what the SMS ledger need not remember any more, a little at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import structlog

from schemas.topics import DAY_MS, SMS_CRITICAL
from streams.consumer import Stale
from streams.engine.publish import PublishError
from streams.sms_ledger import is_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from streams.sms_plans import SmsPolicy
    from streams.tables import Slot

log = structlog.get_logger(__name__)

EVERY_S = 3_600.0
AT_ONCE = 500
# A day longer than the lanes keep a record that could be read again.
KEEP_MS = SMS_CRITICAL.retention_ms + DAY_MS


class PurgeTable(Protocol):
    def owned(self) -> Sequence[Slot]: ...
    def scan(self, slot: Slot) -> Iterator[tuple[bytes, bytes]]: ...
    async def write(self, slot: Slot, items: Mapping[bytes, bytes | None]) -> None: ...


class Purge:
    def __init__(self, table: PurgeTable, policy: SmsPolicy, now_ms: Callable[[], int]) -> None:
        self._table = table
        self._policy = policy
        self._now_ms = now_ms

    async def run(self) -> None:
        """Once an hour, until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                deleted = await self.once()
            except (Stale, PublishError) as error:
                log.info("ledger.purge_ended_early", why=repr(error))
            else:
                log.info("ledger.purged", rows=deleted)

    async def once(self) -> int:
        """Delete what is over in all partitions that are ours; returns how many rows."""
        deleted = 0
        for slot in self._table.owned():
            rows = self._table.scan(slot)
            while over := self._next_over(rows):
                deleted += len(over)
                await self._table.write(slot, dict.fromkeys(over))
                await asyncio.sleep(0)
        return deleted

    def _next_over(self, rows: Iterator[tuple[bytes, bytes]]) -> list[bytes]:
        """Some of the keys of `rows` that are over; empty when all rows were looked at."""
        over: list[bytes] = []
        for key, raw in rows:
            if is_over(key, raw, self._now_ms(), KEEP_MS, self._policy.window_ms):
                over.append(key)
                if len(over) == AT_ONCE:
                    break
        return over
