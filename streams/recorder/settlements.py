"""`dead-letter-settlements` → `job_failures`: which dead letters were sent again, when and by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from schemas import messages as m
from streams.recorder.rows import Incoming, Instant, NotYetError, SqlRow, Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

_decode = msgspec.json.Decoder(m.DeadLetterSettled).decode


class Settled(SqlRow, frozen=True, kw_only=True, gc=False):
    """`topic`, `place` and `letter` are the topic, partition and offset of the letter."""

    topic: str
    place: int
    letter: int
    settled_at: Instant
    settled_by: str


class Settlements:
    """Marks failures. A letter may be sent again before it is recorded: then its failure is waited for."""

    row = Settled
    table = "job_failures"
    _unknown = Statement(
        Settled,
        table,
        "SELECT new.topic, new.place, new.letter FROM {rows} WHERE NOT EXISTS (SELECT FROM recorder_offsets AS recorded"
        " WHERE recorded.topic = new.topic AND recorded.partition = new.place AND recorded.next_offset > new.letter)"
        " LIMIT 1",
    )
    _mark = Statement(
        Settled,
        table,
        "UPDATE job_failures SET settled_at = settled.at, settled_by = settled.by FROM"
        " (SELECT DISTINCT ON (new.topic, new.place, new.letter) new.topic, new.place, new.letter,"
        " new.settled_by AS by, to_timestamp(new.settled_at / 1000.0::float8) AS at"
        " FROM {rows} ORDER BY new.topic, new.place, new.letter, new.number DESC) AS settled"
        " WHERE source_topic = settled.topic AND source_partition = settled.place AND source_offset = settled.letter",
    )

    async def write(self, connection: AsyncConnection, rows: Sequence[Settled]) -> None:
        """Raises NotYetError."""
        if unknown := await self._unknown.fetch(connection, rows):
            raise NotYetError(f"dead letters such as {unknown[0]} are not recorded yet")
        await self._mark.write(connection, rows)


SINKS = (Settlements(),)


def settlement_rows(record: Incoming) -> Sequence[SqlRow]:
    """Nothing for a tombstone: the mark is no longer needed, and what was recorded stays."""
    if record.value is None:
        return ()
    settled = _decode(record.value)
    topic, partition, offset = _place(settled.letter_id)
    return (Settled(topic=topic, place=partition, letter=offset, settled_at=settled.at_ms, settled_by=settled.by),)


def _place(letter_id: str) -> tuple[str, int, int]:
    try:
        topic, partition, offset = letter_id.split("/")
        return topic, int(partition), int(offset)
    except ValueError as error:
        raise msgspec.ValidationError(f"{letter_id!r} is no TOPIC/PARTITION/OFFSET") from error
