"""Which events were handled already, so that a repeated event has no effect.

The log is a table that all processes of the API share, with the latest ids cached per process. An id is written after
its effect: in the opposite order, a crash in between would lose the event. Two processes that get the same event within
milliseconds may both handle it; consumers treat receipts idempotently.

Receipts must flow without the database. While it is unavailable, the process uses its cache alone and retries the
database after a pause instead of waiting for it at every event.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from collections.abc import Set as AbstractSet

    from sqlalchemy import TextClause
    from sqlalchemy.ext.asyncio import AsyncEngine

log = structlog.get_logger(__name__)

REMEMBERED = 50_000
DATABASE_LIMIT_S = 0.3
PAUSE_S = 5.0

KNOWN = text("SELECT event_id FROM webhook_events WHERE event_id = ANY(CAST(:ids AS text[]))")
TAKEN = text(
    "INSERT INTO webhook_events (event_id) SELECT unnest(CAST(:ids AS text[]))"
    " ON CONFLICT DO NOTHING RETURNING event_id"
)


class _Round:
    """Events that share one statement: all that arrive while the previous statement runs."""

    def __init__(self) -> None:
        self.event_ids: list[str] = []
        self.answer: AbstractSet[str] | None = None


class _Together:
    """Batches the events of a burst into one statement. `ask` gets the ids, with repetitions, and must not raise."""

    def __init__(self, ask: Callable[[Sequence[str]], Awaitable[AbstractSet[str]]]) -> None:
        self._ask = ask
        self._gathering = _Round()
        self._asking = asyncio.Lock()

    async def call(self, event_id: str) -> AbstractSet[str]:
        mine = self._gathering
        mine.event_ids.append(event_id)
        async with self._asking:
            # The first of a round asks for all of it; if it is cancelled, the next one does.
            if mine.answer is None:
                if self._gathering is mine:
                    self._gathering = _Round()
                mine.answer = await self._ask(mine.event_ids)
        return mine.answer


class SeenEvents:
    """`clock` is monotonic, in seconds."""

    def __init__(self, engine: AsyncEngine, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._clock = clock
        self._mine: OrderedDict[str, None] = OrderedDict()
        self._ask_again_at = float("-inf")
        self._known = _Together(self._read)
        self._taken = _Together(self._write)

    async def knows(self, event_id: str) -> bool:
        """Whether it was handled, as far as is known now."""
        return event_id in self._mine or event_id in await self._known.call(event_id)

    async def add(self, event_id: str) -> None:
        """Mark an event as handled."""
        self._mine[event_id] = None
        if len(self._mine) > REMEMBERED:
            self._mine.popitem(last=False)
        await self._taken.call(event_id)

    async def _read(self, event_ids: Sequence[str]) -> AbstractSet[str]:
        return await self._within_limit(KNOWN, event_ids)

    async def _write(self, event_ids: Sequence[str]) -> AbstractSet[str]:
        return await self._within_limit(TAKEN, event_ids)

    async def _within_limit(self, statement: TextClause, event_ids: Sequence[str]) -> AbstractSet[str]:
        """The returned ids; none while the database is unavailable."""
        if self._clock() < self._ask_again_at:
            return frozenset()
        try:
            async with asyncio.timeout(DATABASE_LIMIT_S), self._engine.begin() as connection:
                return set((await connection.execute(statement, {"ids": sorted(set(event_ids))})).scalars())
        except (OSError, DBAPIError, PoolTimeoutError) as error:
            self._ask_again_at = self._clock() + PAUSE_S
            log.warning("telnyx.events_in_memory_only", error=type(error).__name__, for_s=PAUSE_S)
            return frozenset()
