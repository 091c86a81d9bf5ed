"""One try to write a batch: its rows, and the offset behind it, in one transaction.

The row of `recorder_offsets` is locked first. Whoever else writes this partition (a worker that was taken for dead and
wakes up, or its successor) waits, and then finds in it what is written already; that is left out.
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

# Classes of SQLSTATE that speak of the rows: data exceptions, broken constraints, limits of the program such as the
# longest key of an index. Whatever else goes wrong may go well later.
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
    """SQL wants records from before the batch, from `next_offset` on."""

    def __init__(self, next_offset: int) -> None:
        super().__init__(f"offset {next_offset} comes next")
        self.next_offset = next_offset


class Prepared(NamedTuple):
    """A record and what follows from it."""

    record: Incoming
    rows: Sequence[SqlRow]


class Written(NamedTuple):
    """What a transaction did: rows by table, and records that were written before."""

    rows: Counter[str]
    skipped: int


async def write(
    engine: AsyncEngine, route: Route, prepared: Sequence[Prepared], *, gap_from: int | None = None
) -> Written:
    """Write what is not written yet of records of one partition, the oldest first.

    Raises RefusedError where the rows themselves are at fault, BehindError where records before them are missing (but
    not those from `gap_from` on, which are known to be gone), and one of `AWAY` where another try may do.
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
    """The error as one about the rows, or None. asyncpg refuses some values itself, such as too large integers."""
    cause = error.orig.__cause__ if error.orig is not None else None
    code = getattr(cause, "sqlstate", None)
    if isinstance(cause, (asyncpg.DataError, ValueError)) or (code is not None and str(code)[:2] in ABOUT_ROWS):
        return RefusedError(str(code or "22000"), str(cause).partition("\n")[0])
    return None
