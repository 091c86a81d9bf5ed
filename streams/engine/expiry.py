"""Deletes what a table need not remember any more, a little at a time."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import structlog

from streams.engine.consumer import Stale
from streams.engine.publish import PublishError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from streams.engine.tables import Slot

log = structlog.get_logger(__name__)

EVERY_S = 3_600.0
AT_ONCE = 500


class Table(Protocol):
    def owned(self) -> Sequence[Slot]: ...
    def scan(self, slot: Slot) -> Iterator[tuple[bytes, bytes]]: ...
    async def write(self, slot: Slot, items: Mapping[bytes, bytes | None]) -> None: ...


class Forgetting:
    """Of one table; `is_over` is asked about each key and value."""

    def __init__(self, name: str, table: Table, is_over: Callable[[bytes, bytes], bool]) -> None:
        self._name = name
        self._table = table
        self._is_over = is_over

    async def run(self) -> None:
        """Once an hour, until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                log.info("table.forgot", table=self._name, rows=await self.once())
            except (Stale, PublishError) as error:
                log.info("table.forgetting_ended_early", table=self._name, why=repr(error))

    async def once(self) -> int:
        """Delete what is over in all partitions that are ours; returns how many rows."""
        deleted = 0
        for slot in self._table.owned():
            over = (key for key, raw in self._table.scan(slot) if self._is_over(key, raw))
            while some := list(islice(over, AT_ONCE)):
                await self._table.write(slot, dict.fromkeys(some))
                deleted += len(some)
                await asyncio.sleep(0)
        return deleted
