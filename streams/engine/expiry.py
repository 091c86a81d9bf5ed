"""Deletes the rows of a table that nobody needs any more, a few at a time."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

import structlog

from streams.engine.consumer import Stale
from streams.engine.publish import PublishError

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.engine.interfaces import Table

log = structlog.get_logger(__name__)

EVERY_S = 3_600.0
AT_ONCE = 500


class Expiry:
    """Of one table; `is_over` judges each key and value."""

    def __init__(self, name: str, table: Table, is_over: Callable[[bytes, bytes], bool]) -> None:
        self._name = name
        self._table = table
        self._is_over = is_over

    async def run(self) -> None:
        """Once an hour, until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                log.info("table.expired", table=self._name, rows=await self.once())
            except (Stale, PublishError) as error:
                log.info("table.expiry_ended_early", table=self._name, why=repr(error))

    async def once(self) -> int:
        """Delete what is over in all partitions that are ours; returns how many rows went."""
        deleted = 0
        for slot in self._table.owned():
            over = ((key, raw) for key, raw in self._table.scan(slot) if self._is_over(key, raw))
            while some := dict(islice(over, AT_ONCE)):
                with self._table.at_work():
                    # A flow may have written some of them since the scan: those stay.
                    deleted += await self._table.delete_unchanged(slot, some)
                await asyncio.sleep(0)
        return deleted
