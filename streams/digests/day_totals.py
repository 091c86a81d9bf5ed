"""Totals per unit and local day, summed up by the database: a month of 1,000 units is 31,000 rows, not three million.

The sums are whole numbers, as in `Totals`, and equal those over the buckets. Only the kinetic terms are sums of floats:
the mean kinetic temperature may differ in its fifteenth digit.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, time, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ARRAY, BigInteger, Text, cast, func, select
from sqlalchemy.sql import ColumnElement  # noqa: TC002 - used in annotations of module level names

from database.records import UnitAggregateRow
from domain.digest.aggregate_totals import KINETIC, MICRO, Totals
from domain.digest.courses import Course
from domain.digest.schedule import first_moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Select
    from sqlalchemy.ext.asyncio import AsyncConnection

    from domain.digest.schedule import Period

BUCKET = UnitAggregateRow.__table__.c


def _whole(column: ColumnElement[float], factor: int) -> ColumnElement[int]:
    """The sum of a column in units of 1/`factor`, each value rounded by itself.

    A float holds these whole numbers exactly, and PostgreSQL adds floats several times faster than bigints.
    """
    return cast(func.sum(func.round(column * factor)), BigInteger)


SUMS = (
    BUCKET.unit_id,
    cast(func.sum(BUCKET["count"]), BigInteger),
    _whole(BUCKET.sum_c, MICRO),
    func.min(BUCKET.min_c),
    func.max(BUCKET.max_c),
    _whole(BUCKET.above_s, 1000),
    _whole(BUCKET.below_s, 1000),
    _whole(BUCKET.covered_s, 1000),
    func.sum(BUCKET.mkt_sum),
    _whole(BUCKET.mkt_seconds, 1000),
    cast(func.sum(BUCKET.excursions), BigInteger),
    func.count().filter(BUCKET.revision > 1),
)


async def totals_between(
    connection: AsyncConnection,
    organization_id: str,
    starts_at: datetime,
    ends_at: datetime,
    unit_ids: Sequence[str] = (),
) -> dict[str, Totals]:
    """The totals of each of `unit_ids`, or of all; units without buckets are missing."""
    wanted = select(*SUMS).where(*_within(organization_id, starts_at, ends_at)).group_by(BUCKET.unit_id)
    if unit_ids:
        wanted = wanted.where(BUCKET.unit_id.in_(list(unit_ids)))
    return {unit_id: _totals(sums) for unit_id, *sums in await connection.execute(wanted)}


async def day_courses(
    connection: AsyncConnection, organization_id: str, period: Period, unit_ids: Sequence[str] = ()
) -> list[Course]:
    """Each unit's totals by local date, and its last limits. A day at a time keeps each statement short."""
    by_unit: defaultdict[str, list[tuple[date, Totals]]] = defaultdict(list)
    for on, starts_at, ends_at in _days(period):
        found = await totals_between(connection, organization_id, starts_at, ends_at, unit_ids)
        for unit_id, total in found.items():
            by_unit[unit_id].append((on, total))
    limits = await _last_limits(connection, organization_id, period, list(by_unit))
    return [Course(unit_id, days, *limits[unit_id]) for unit_id, days in by_unit.items()]


def _days(period: Period) -> list[tuple[date, datetime, datetime]]:
    dates = [period.first + timedelta(days=number) for number in range((period.until - period.first).days)]
    edges = [*(first_moment(on, time(0), period.timezone) for on in dates), period.ends_at]
    return list(zip(dates, edges, edges[1:], strict=False))


def _within(organization_id: str, starts_at: datetime, ends_at: datetime) -> tuple[ColumnElement[bool], ...]:
    return (BUCKET.organization_id == organization_id, BUCKET.starts_at >= starts_at, BUCKET.starts_at < ends_at)


async def _last_limits(
    connection: AsyncConnection, organization_id: str, period: Period, unit_ids: Sequence[str]
) -> dict[str, tuple[float | None, float | None]]:
    """Of each unit's last bucket in the period; one look into the index a unit."""
    unit = select(func.unnest(cast(list(unit_ids), ARRAY(Text))).label("id")).subquery()
    last: Select[Any] = (
        select(BUCKET.high_c, BUCKET.low_c)
        .where(*_within(organization_id, period.starts_at, period.ends_at), BUCKET.unit_id == unit.c.id)
        .order_by(BUCKET.starts_at.desc())
        .limit(1)
    )
    lateral = last.lateral()
    rows = await connection.execute(select(unit.c.id, lateral.c.high_c, lateral.c.low_c))
    return {unit_id: (high_c, low_c) for unit_id, high_c, low_c in rows}


def _totals(sums: Sequence[Any]) -> Totals:
    count, sum_micro_c, min_c, max_c, above_ms, below_ms, covered_ms, kinetic, kinetic_ms, excursions, revised = sums
    return Totals(
        count=count,
        sum_micro_c=sum_micro_c,
        min_c=min_c,
        max_c=max_c,
        above_ms=above_ms,
        below_ms=below_ms,
        covered_ms=covered_ms,
        kinetic=int(kinetic * KINETIC),
        kinetic_ms=kinetic_ms,
        excursions=excursions,
        revised=revised,
    )
