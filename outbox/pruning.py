"""Deletes rows that are older than their retention, and what was deleted from Kafka's segments, once a day."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import structlog
from prometheus_client import Counter
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from database.retention import prune
from outbox.compaction import close_segments

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncEngine

    from database.retention import RetentionSettings

log = structlog.get_logger(__name__)

PRUNED = Counter("freshtrack_pruned_rows", "Rows deleted because of their age", ["table"])

EVERY_S = 86_400.0
AGAIN_S = 600.0
FAILURES = (DBAPIError, PoolTimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


class Pruning:
    """`run()` prunes at once and then every day, until it is cancelled; after a failure again in ten minutes."""

    def __init__(
        self,
        engine: AsyncEngine,
        settings: RetentionSettings,
        now: Callable[[], datetime],
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._now = now
        self._wait = wait

    async def run(self) -> None:
        while True:
            try:
                deleted = await prune(self._engine, self._settings, now=self._now())
                await close_segments(self._engine)
            except FAILURES as error:
                log.warning("relay.pruning_failed", error=f"{type(error).__name__}: {error}", retry_s=AGAIN_S)
                await self._wait(AGAIN_S)
                continue
            for table, rows in deleted.items():
                PRUNED.labels(table).inc(rows)
            log.info("relay.pruned", **{table: rows for table, rows in deleted.items() if rows})
            await self._wait(EVERY_S)
