"""The rows that the digest benchmark reads: a day with readings and alerts, and a month of quarter hours.

python -m benchmarks.digest_data URL
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import insert, text

from benchmarks.scale import scaled
from database.declarative import from_ms
from database.engine import DatabaseSettings, make_engine
from database.records import AlertRow, UnitAggregateRow
from database.upgrade import upgrade
from database.watermarks import RecorderWatermarkRow
from domain.detection.aggregate_numbers import BUCKET_MS, Grading, Packed, measure
from domain.digest.schedule import period_before
from schemas import messages as m
from schemas.topics import ALERTS, UNIT_AGGREGATES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.ext.asyncio import AsyncEngine

UNITS = scaled(1_000, at_least=5)
ORGANIZATION = "org"
RULE = m.Rule(rule_id="hot", limit=m.Limit.HIGH, severity=m.Severity.CRITICAL, limit_c=5.0)
PERIOD = period_before(m.Cadence.DAILY, "America/New_York", date(2026, 6, 18))
MONTH = period_before(m.Cadence.MONTHLY, PERIOD.timezone, date(2026, 6, 1))


def unit_id(number: int) -> str:
    return f"unit-{number:04}"


def unit_rows(number: int) -> Iterator[dict[str, object]]:
    """Three readings a bucket; every tenth unit is too warm now and then."""
    graded = Grading(5.0, None, 900_000)
    for at_ms in range(PERIOD.starts_at_ms, PERIOD.ends_at_ms, BUCKET_MS):
        readings = Packed()
        warm = 6.0 if number % 10 == 0 and at_ms // BUCKET_MS % 40 == 0 else 3.0
        readings.append([0, 300_000, 600_000], [warm, warm + 0.4, warm + 0.2])
        bucket = measure(unit_id(number), ORGANIZATION, at_ms, 1, readings, None, graded)
        yield {
            name: getattr(bucket, name)
            for name in UnitAggregateRow.__table__.columns.keys()  # noqa: SIM118 - a collection of columns, no mapping
            if name not in {"starts_at", "first_at", "last_at"}
        } | {"starts_at": from_ms(at_ms)}


async def load(url: str) -> None:
    engine = make_engine(DatabaseSettings(url=url))
    await upgrade(engine)
    await _load_day(engine)
    await _load_month(engine)
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("ANALYZE"))
    await engine.dispose()


async def _load_day(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        for first in range(0, UNITS, 10):
            rows = [row for number in range(first, first + 10) for row in unit_rows(number)]
            await connection.execute(insert(UnitAggregateRow), rows)
        alerts = [
            {
                "alert_id": f"alert-{number}",
                "unit_id": unit_id(number),
                "organization_id": ORGANIZATION,
                "rule_id": "hot",
                "kind": "temperature_high",
                "severity": "critical",
                "started_at": from_ms(PERIOD.starts_at_ms + number * 60_000),
                "triggered_at": from_ms(PERIOD.starts_at_ms + number * 60_000),
                "resolved_at": from_ms(PERIOD.starts_at_ms + number * 60_000 + 1_800_000),
            }
            for number in range(0, UNITS, 10)
        ]
        await connection.execute(insert(AlertRow), alerts)
        until = [
            {"topic": topic.name, "partition": number, "recorded_until": datetime.now(UTC)}
            for topic in (UNIT_AGGREGATES, ALERTS)
            for number in range(topic.partitions)
        ]
        await connection.execute(insert(RecorderWatermarkRow), until)


async def _load_month(engine: AsyncEngine) -> None:
    """Each day of the month is a copy of the one day."""
    names = [column.name for column in UnitAggregateRow.__table__.columns]
    shifted = ["starts_at - make_interval(days => :days)" if name == "starts_at" else name for name in names]
    copy = text(
        f"INSERT INTO unit_aggregates ({', '.join(names)}) SELECT {', '.join(shifted)} FROM unit_aggregates"  # noqa: S608
        " WHERE starts_at >= :since"
    )
    for day in range((MONTH.until - MONTH.first).days):
        days = (PERIOD.first - MONTH.first).days - day
        async with engine.begin() as connection:
            await connection.execute(copy, {"days": days, "since": PERIOD.starts_at})


if __name__ == "__main__":
    asyncio.run(load(sys.argv[1]))
