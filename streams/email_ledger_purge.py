"""Deletes what the ledger of mails need not remember any more, a little at a time."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import structlog

from schemas.topics import DAY_MS, EMAIL_REQUESTS
from streams.consumer import Stale
from streams.email_ledger import is_over
from streams.engine.publish import PublishError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from streams.tables import Slot

log = structlog.get_logger(__name__)

EVERY_S = 3_600.0
AT_ONCE = 500
# A day longer than the topic keeps a record that could be read again.
KEEP_MS = EMAIL_REQUESTS.retention_ms + DAY_MS


class PurgeTable(Protocol):
    def owned(self) -> Sequence[Slot]: ...
    def scan(self, slot: Slot) -> Iterator[tuple[bytes, bytes]]: ...
    async def write(self, slot: Slot, items: Mapping[bytes, bytes | None]) -> None: ...


async def purge(table: PurgeTable, now_ms: Callable[[], int]) -> None:
    """Once an hour, until it is cancelled."""
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            log.info("email_ledger.purged", rows=await purge_once(table, now_ms))
        except (Stale, PublishError) as error:
            log.info("email_ledger.purge_ended_early", why=repr(error))


async def purge_once(table: PurgeTable, now_ms: Callable[[], int]) -> int:
    """Delete what is over in all partitions that are ours; returns how many rows."""
    deleted = 0
    for slot in table.owned():
        over = (key for key, raw in table.scan(slot) if is_over(raw, now_ms(), KEEP_MS))
        while some := list(islice(over, AT_ONCE)):
            deleted += len(some)
            await table.write(slot, dict.fromkeys(some))
            await asyncio.sleep(0)
    return deleted
