"""`dead-letter-settlements` → `job_failures`: which dead letters were sent again, when and by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from domain.redrive.dead_letters import DeadLetterId
from schemas.topics import DEAD_LETTER_SETTLEMENTS
from streams.recorder.rows import Incoming, Instant, NotYetError, SqlRow, Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection


class Settled(SqlRow, frozen=True, kw_only=True, gc=False):
    """Where the dead letter lies, when it was sent again and by whom."""

    source_topic: str
    source_partition: int
    source_offset: int
    settled_at: Instant
    settled_by: str


PLACE = "new.source_topic, new.source_partition, new.source_offset"


class Settlements:
    """Marks failures. A dead letter may be sent again before it is recorded; the flow then waits for its row."""

    row = Settled
    table = "job_failures"
    _unknown = Statement(
        Settled,
        table,
        f"SELECT {PLACE} FROM {{rows}} WHERE NOT EXISTS (SELECT FROM recorder_offsets AS recorded"  # noqa: S608 - constant names
        " WHERE recorded.topic = new.source_topic AND recorded.partition = new.source_partition"
        " AND recorded.next_offset > new.source_offset) LIMIT 1",
    )
    _mark = Statement(
        Settled,
        table,
        "UPDATE job_failures SET settled_at = settled.at, settled_by = settled.by FROM"  # noqa: S608 - constant names
        f" (SELECT DISTINCT ON ({PLACE}) {PLACE},"
        " new.settled_by AS by, to_timestamp(new.settled_at / 1000.0::float8) AS at"
        f" FROM {{rows}} ORDER BY {PLACE}, new.number DESC) AS settled"
        " WHERE job_failures.source_topic = settled.source_topic"
        " AND job_failures.source_partition = settled.source_partition"
        " AND job_failures.source_offset = settled.source_offset",
    )

    async def write(self, connection: AsyncConnection, rows: Sequence[Settled]) -> None:
        """Raises NotYetError."""
        if unknown := await self._unknown.fetch(connection, rows):
            raise NotYetError(f"dead letters such as {unknown[0]} are not recorded yet")
        await self._mark.write(connection, rows)


SINKS = (Settlements(),)


def settlement_rows(record: Incoming) -> Sequence[SqlRow]:
    """Nothing for a tombstone: recorded settlements stay."""
    if record.value is None:
        return ()
    settled = DEAD_LETTER_SETTLEMENTS.decode(record.value)
    try:
        place = DeadLetterId.parse(settled.letter_id)
    except ValueError as error:
        raise msgspec.ValidationError(str(error)) from error
    return (
        Settled(
            source_topic=place.topic,
            source_partition=place.partition,
            source_offset=place.offset,
            settled_at=settled.at_ms,
            settled_by=settled.by,
        ),
    )
