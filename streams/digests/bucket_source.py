"""Reads recorded buckets from SQL in portions, while a thread sums them up: they never lie in memory as a whole."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, cast, func, select

from database.records import UnitAggregateRow
from schemas import messages as m

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from domain.digest.schedule import Period

PORTION = 5_000
BUCKET = UnitAggregateRow.__table__.c
# What a bucket is made of, under the names of the message; only its time is another in the table.
NAMES = (
    "unit_id",
    "organization_id",
    "revision",
    "count",
    "sum_c",
    "min_c",
    "max_c",
    "first_c",
    "last_c",
    "above_s",
    "below_s",
    "covered_s",
    "mkt_seconds",
    "mkt_sum",
    "excursions",
    "high_c",
    "low_c",
)


def buckets(
    connection: AsyncConnection, organization_id: str, period: Period, unit_ids: Sequence[str] = ()
) -> Iterator[m.AggregateBucket]:
    """Of `unit_ids`, or all; ordered by unit, then time. For a thread beside the event loop that calls this."""
    return _in_a_thread(_portions(connection, organization_id, period, unit_ids))


def _in_a_thread(portions: AsyncIterator[list[m.AggregateBucket]]) -> Iterator[m.AggregateBucket]:
    """For a thread: each portion is fetched by the event loop when it is needed."""
    loop = asyncio.get_running_loop()

    async def following() -> list[m.AggregateBucket] | None:
        return await anext(portions, None)

    def all_of_them() -> Iterator[m.AggregateBucket]:
        while (portion := asyncio.run_coroutine_threadsafe(following(), loop).result()) is not None:
            yield from portion

    return all_of_them()


async def _portions(
    connection: AsyncConnection, organization_id: str, period: Period, unit_ids: Sequence[str]
) -> AsyncIterator[list[m.AggregateBucket]]:
    starts_at_ms = cast(func.extract("epoch", BUCKET.starts_at) * 1000, BigInteger)
    wanted = (
        select(starts_at_ms, *(BUCKET[name] for name in NAMES))
        .where(BUCKET.organization_id == organization_id)
        .where(BUCKET.starts_at >= period.starts_at, BUCKET.starts_at < period.ends_at)
        .order_by(BUCKET.unit_id, BUCKET.starts_at)
    )
    if unit_ids:
        wanted = wanted.where(BUCKET.unit_id.in_(list(unit_ids)))
    async with connection.stream(wanted, execution_options={"yield_per": PORTION}) as result:
        async for rows in result.partitions(PORTION):
            yield await asyncio.to_thread(_buckets, rows)


def _buckets(rows: Iterable[Iterable[Any]]) -> list[m.AggregateBucket]:
    names = ("starts_at_ms", *NAMES)
    return [m.AggregateBucket(**dict(zip(names, row, strict=True))) for row in rows]
