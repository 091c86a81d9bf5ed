"""A unit's temperatures over a stretch of time, from the minutes in memory, the quarter hours, or the days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct
from sqlalchemy import Date, cast, func, select

from database.declarative import from_ms, to_ms
from database.records import UnitAggregateRow
from domain.digest.schedule import zone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncSession

    from api.pages.live_feed import LiveFeed


class Stretch(StrEnum):
    HOURS = "2h"
    DAY = "day"
    MONTH = "30d"
    YEAR = "year"


LENGTHS = {
    Stretch.HOURS: timedelta(hours=2),
    Stretch.DAY: timedelta(days=1),
    Stretch.MONTH: timedelta(days=30),
    Stretch.YEAR: timedelta(days=365),
}


class Point(Struct, frozen=True, array_like=True):
    """Temperatures of a moment, a quarter hour or a day that begins at `at_ms`; null where nothing was measured."""

    at_ms: int
    min_c: float | None
    mean_c: float | None
    max_c: float | None


async def history(
    session: AsyncSession,
    feed: LiveFeed,
    organization_id: str,
    unit_id: str,
    stretch: Stretch,
    timezone: str,
    now_ms: int,
) -> Sequence[Point]:
    """The oldest first, times ascending and unique."""
    match stretch:
        case Stretch.HOURS:
            return _minutes(feed, unit_id, now_ms)
        case Stretch.DAY | Stretch.MONTH:
            return await _quarters(session, organization_id, unit_id, from_ms(now_ms) - LENGTHS[stretch])
        case Stretch.YEAR:
            return await _days(session, organization_id, unit_id, from_ms(now_ms) - LENGTHS[stretch], timezone)


def _minutes(feed: LiveFeed, unit_id: str, now_ms: int) -> list[Point]:
    known = feed.units.get(unit_id)
    if known is None:
        return []
    line = known.line(now_ms)
    first = now_ms // 60_000 - len(line) + 1
    return [
        Point((first + number) * 60_000, value, value, value) for number, value in enumerate(line) if value is not None
    ]


async def _quarters(session: AsyncSession, organization_id: str, unit_id: str, since: datetime) -> list[Point]:
    row = UnitAggregateRow
    found = await session.execute(
        select(row.starts_at, row.min_c, row.sum_c, row.count, row.max_c)
        .where(row.organization_id == organization_id, row.unit_id == unit_id, row.starts_at >= since)
        .order_by(row.starts_at)
    )
    return [
        Point(to_ms(starts_at), least, total / count if count else None, most)
        for starts_at, least, total, count, most in found
    ]


async def _days(
    session: AsyncSession, organization_id: str, unit_id: str, since: datetime, timezone: str
) -> list[Point]:
    row = UnitAggregateRow
    day = cast(func.timezone(timezone, row.starts_at), Date).label("day")
    found = await session.execute(
        select(day, func.min(row.min_c), func.sum(row.sum_c), func.sum(row.count), func.max(row.max_c))
        .where(row.organization_id == organization_id, row.unit_id == unit_id, row.starts_at >= since)
        .group_by(day)
        .order_by(day)
    )
    return [
        Point(_midnight_ms(on, timezone), least, total / count if count else None, most)
        for on, least, total, count, most in found
    ]


def _midnight_ms(on: date, timezone: str) -> int:
    return to_ms(datetime(on.year, on.month, on.day, tzinfo=zone(timezone)).astimezone(UTC))
