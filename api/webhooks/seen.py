"""Which events were taken already, so that a copy of one takes no effect.

The memory is a table that all processes of the API share, and beside it the last ids in each process. An id is written
down after its effect: the other way round, a crash in between would lose the event. So two processes that get the same
event within the same milliseconds may both take it; who reads the topic takes receipts idempotently.

Receipts must flow without the database. While it is away, the process remembers by itself, and asks the database again
only after a pause, so that it does not wait for it at every event.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from schemas.database.queues import WebhookEventRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

log = structlog.get_logger(__name__)

REMEMBERED = 50_000
DATABASE_LIMIT_S = 0.3
PAUSE_S = 5.0


class SeenEvents:
    """`clock` is monotonic, in seconds."""

    def __init__(self, engine: AsyncEngine, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._clock = clock
        self._mine: OrderedDict[str, None] = OrderedDict()
        self._ask_again_at = float("-inf")

    async def knows(self, event_id: str) -> bool:
        """Whether it was taken, as far as can be known now."""
        if event_id in self._mine:
            return True
        if self._clock() < self._ask_again_at:
            return False
        wanted = select(WebhookEventRow.event_id).where(WebhookEventRow.event_id == event_id)
        try:
            async with asyncio.timeout(DATABASE_LIMIT_S), self._engine.connect() as connection:
                return (await connection.execute(wanted)).first() is not None
        except (OSError, DBAPIError, PoolTimeoutError) as error:
            self._pause(error)
            return False

    async def add(self, event_id: str) -> None:
        """It was taken."""
        self._mine[event_id] = None
        if len(self._mine) > REMEMBERED:
            self._mine.popitem(last=False)
        if self._clock() < self._ask_again_at:
            return
        row = insert(WebhookEventRow).values(event_id=event_id).on_conflict_do_nothing()
        try:
            async with asyncio.timeout(DATABASE_LIMIT_S), self._engine.begin() as connection:
                await connection.execute(row)
        except (OSError, DBAPIError, PoolTimeoutError) as error:
            self._pause(error)

    def _pause(self, error: Exception) -> None:
        self._ask_again_at = self._clock() + PAUSE_S
        log.warning("telnyx.events_in_memory_only", error=type(error).__name__, for_s=PAUSE_S)
