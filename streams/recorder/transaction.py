"""One try to write a batch: its rows, and the offset behind it, in one transaction.

The row of `recorder_offsets` is locked first. Another writer of this partition (a worker that was presumed dead, or its
successor) waits, and then finds there what is already written, and leaves it out.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from outbox.writer import MessageTooLargeError
from streams.recorder.failures import FAILURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from streams.recorder.rows import Incoming, Route, SqlRow

# Classes of SQLSTATE that are about the rows: data exceptions, broken constraints, program limits such as the longest
# index key. Anything else may succeed later.
ABOUT_ROWS = ("22", "23", "54")
AWAY = (DBAPIError, PoolTimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)

_PLACE = text(
    "INSERT INTO recorder_offsets AS place (topic, partition, next_offset) VALUES (:topic, :partition, 0)"
    " ON CONFLICT (topic, partition) DO UPDATE SET next_offset = place.next_offset RETURNING next_offset"
)
_MOVE = text("UPDATE recorder_offsets SET next_offset = :next WHERE topic = :topic AND partition = :partition")
_TOGETHER = text("SELECT pg_advisory_xact_lock(:together, :partition)")


class RefusedError(Exception):
    """The database refuses a row of the batch; the same batch will never be written."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why


class BehindError(Exception):
    """SQL lacks records before the batch, from `next_offset` on."""

    def __init__(self, next_offset: int) -> None:
        super().__init__(f"offset {next_offset} comes next")
        self.next_offset = next_offset


class Prepared(NamedTuple):
    """A record and what follows from it."""

    record: Incoming
    rows: Sequence[SqlRow]


class Written(NamedTuple):
    """What a transaction wrote: rows by table, and how many records were written before."""

    rows: Counter[str]
    skipped: int


async def write(
    engine: AsyncEngine, route: Route, prepared: Sequence[Prepared], *, gap_from: int | None = None
) -> Written:
    """Write the records of one partition that are not written yet, the oldest first.

    Raises RefusedError if the rows themselves are at fault, BehindError if records before them are missing (except from
    `gap_from` on, which are known to be gone), and one of `AWAY` if another try may succeed.
    """
    try:
        async with engine.begin() as connection:
            return await _write(connection, route, prepared, gap_from)
    except DBAPIError as error:
        if (refused := _refusal(error)) is not None:
            raise refused from error
        raise
    except MessageTooLargeError as error:
        raise RefusedError("too_large", str(error)) from error


async def _write(
    connection: AsyncConnection, route: Route, prepared: Sequence[Prepared], gap_from: int | None
) -> Written:
    first, last = prepared[0].record, prepared[-1].record
    place = {"topic": first.topic, "partition": first.partition}
    next_offset = int((await connection.execute(_PLACE, place)).scalar_one())
    if first.offset > next_offset and next_offset != gap_from:
        raise BehindError(next_offset)
    fresh = [one for one in prepared if one.record.offset >= next_offset]
    if not fresh:
        return Written(Counter(), len(prepared))
    if route.together is not None:
        number = zlib.crc32(f"recorder {route.together}".encode()) & 0x7FFF_FFFF
        await connection.execute(_TOGETHER, {"together": number, "partition": first.partition})
    rows: defaultdict[type[SqlRow], list[SqlRow]] = defaultdict(list)
    for one in fresh:
        for row in one.rows:
            rows[type(row)].append(row)
    counts: Counter[str] = Counter()
    for sink in (*route.sinks, FAILURES):
        if of_sink := rows.pop(sink.row, None):
            await sink.write(connection, of_sink)
            counts[sink.table] += len(of_sink)
    if rows:
        raise TypeError(f"{route.topic.name} makes rows that its route does not write: {', '.join(map(str, rows))}")
    await connection.execute(_MOVE, place | {"next": last.offset + 1})
    return Written(counts, len(prepared) - len(fresh))


def _refusal(error: DBAPIError) -> RefusedError | None:
    """The error if it is about the rows, else None. asyncpg itself refuses some values, such as too large integers."""
    cause = error.orig.__cause__ if error.orig is not None else None
    code = getattr(cause, "sqlstate", None)
    if isinstance(cause, (asyncpg.DataError, ValueError)) or (code is not None and str(code)[:2] in ABOUT_ROWS):
        return RefusedError(str(code or "22000"), str(cause).partition("\n")[0])
    return None
