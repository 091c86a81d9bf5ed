"""The backstop for what no flow thought of: a record on which our code fails alone is set aside, the partition goes on.

A batch that fails is halved, in order, until the records that fail are alone. Nothing behind such a record is handled
before it is set aside: the state of its key would contain later offsets, and a worker that has died would pass it over.
Handling records once more changes nothing, as after a crash: ids are made of what they stand for, and what a table's
value contains already is left out.

What speaks of the broker, the database, or of whose the partition is says nothing about a record: it ends the worker as
ever, and the batch is read again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import asyncpg
import structlog
from aiokafka.errors import KafkaError
from sqlalchemy.exc import SQLAlchemyError

from domain.personal_data import masked_text
from streams.engine.alarms import raise_alarm
from streams.engine.consumer import Stale
from streams.engine.publish import PublishError, RecordTooLargeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from streams.engine.consumer import Batch
    from streams.engine.recent_failures import RecentFailures

log = structlog.get_logger(__name__)

# OSError includes TimeoutError and every failed connection.
SURROUNDINGS = (
    Stale,
    PublishError,
    KafkaError,
    SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    OSError,
    MemoryError,
)
KEPT_WHY = 500


class SetAside(Protocol):
    """Keeps the one record of `batch` where a person finds it; returns when it is safe there."""

    async def __call__(self, batch: Batch, why: str) -> None: ...


class Quarantine:
    """Around the `handle` of one flow; `failures` are those of the whole worker."""

    def __init__(
        self, handle: Callable[[Batch], Awaitable[None]], set_aside: SetAside, failures: RecentFailures
    ) -> None:
        self._handle = handle
        self._set_aside = set_aside
        self._failures = failures

    async def handle(self, batch: Batch) -> None:
        """Raises what ends the worker, TooManyFailuresError among it."""
        try:
            await self._handle(batch)
        except Exception as error:
            if not about_records(error):
                raise
            failure = error
        else:
            return
        records, middle = batch.records, len(batch.records) // 2
        if not middle:
            await self._keep(batch, failure)
            return
        log.warning("batch.halved", topic=batch.topic, partition=batch.partition, records=len(records))
        for part in (records[:middle], records[middle:]):
            await self.handle(batch.part(part))

    async def _keep(self, batch: Batch, error: Exception) -> None:
        why = masked_text(f"{type(error).__name__}: {error}"[:KEPT_WHY])
        place = {"topic": batch.topic, "partition": batch.partition, "offset": batch.records[0].offset}
        self._failures.note(f"{batch.topic}/{batch.partition}/{place['offset']}: {why}")
        if not batch.still_ours():
            raise Stale
        await self._set_aside(batch, why)
        raise_alarm("record.quarantined", error, why=why, **place)


def about_records(error: Exception) -> bool:
    """Whether the same records would fail again, wherever they are handled."""
    return isinstance(error, RecordTooLargeError) or not isinstance(error, SURROUNDINGS)
