"""Reads from SQL what a digest is made of: buckets, alerts, counts of SMS, and what the digest before it told.

All of it is read in one snapshot. Buckets come in portions while they are summed up in a thread, so that a month of a
thousand units, three million buckets, never lies in memory as a whole.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import structlog
from sqlalchemy import BigInteger, cast, func, select

from database.declarative import from_ms, to_ms
from database.digests import DigestReportRow
from database.notifications import SmsAlertLogRow
from database.records import AlertRow, UnitAggregateRow
from domain.digest.cadences import CADENCES, Layout
from domain.digest.digest import digest
from domain.digest.facts import AlertRecord, Digest, Revision, SmsCounts, Source, Sums
from domain.digest.revisions import as_reported, revisions
from domain.digest.schedule import Period, previous_period
from schemas import messages as m

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from domain.digest.jobs import Job

log = structlog.get_logger(__name__)

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
_decode_digest = msgspec.msgpack.Decoder(Digest).decode


class Readiness(NamedTuple):
    """How whole the recorded buckets are."""

    complete: bool
    waited_ms: int
    recorded_until_ms: int


async def made_digest(
    engine: AsyncEngine, job: Job, units: Sequence[m.UnitConfig], readiness: Readiness, as_of_ms: int
) -> Digest:
    """The numbers of a job. Raises what SQLAlchemy raises, and ScheduleError."""
    period = job.period
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        before = previous_period(period)
        former = await _former(connection, job, before)
        sums = former.sums if former else None
        if CADENCES[period.cadence].layout is Layout.ANALYTICS and former is None:
            compared = await _summed_up(connection, job, units, before, as_of_ms)
            sums = compared.sums if compared.numbers.total_readings else None
        return await _summed_up(
            connection,
            job,
            units,
            period,
            as_of_ms,
            readiness=readiness,
            before=sums,
            revised=await _revised(connection, job, units, former, as_of_ms) if former else (),
        )


async def _summed_up(
    connection: AsyncConnection,
    job: Job,
    units: Sequence[m.UnitConfig],
    period: Period,
    as_of_ms: int,
    *,
    readiness: Readiness = Readiness(complete=True, waited_ms=0, recorded_until_ms=0),  # noqa: B008 - immutable
    before: Sums | None = None,
    revised: tuple[Revision, ...] = (),
    only: Sequence[str] | None = None,
) -> Digest:
    """The digest of one period; of the units `only`, where that is given."""
    source = Source(
        organization_id=job.organization_id,
        organization_name=next((unit.organization_name for unit in units if unit.organization_name), ""),
        units=units if only is None else [unit for unit in units if unit.unit_id in set(only)],
        buckets=_in_a_thread(_portions(connection, job.organization_id, period, only)),
        alerts=await _alerts(connection, job.organization_id, period),
        sms=await _sms(connection, job.organization_id, period),
        complete=readiness.complete,
        waited_ms=readiness.waited_ms,
        recorded_until_ms=None if readiness.complete else readiness.recorded_until_ms or None,
        before=before,
        revisions=revised,
    )
    return await asyncio.to_thread(digest, source, period, as_of_ms)


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
    connection: AsyncConnection, organization_id: str, period: Period, only: Sequence[str] | None
) -> AsyncIterator[list[m.AggregateBucket]]:
    starts_at_ms = cast(func.extract("epoch", BUCKET.starts_at) * 1000, BigInteger)
    wanted = (
        select(starts_at_ms, *(BUCKET[name] for name in NAMES))
        .where(BUCKET.organization_id == organization_id)
        .where(BUCKET.starts_at >= period.starts_at, BUCKET.starts_at < period.ends_at)
        .order_by(BUCKET.unit_id, BUCKET.starts_at)
    )
    if only is not None:
        wanted = wanted.where(BUCKET.unit_id.in_(list(only)))
    async with connection.stream(wanted, execution_options={"yield_per": PORTION}) as result:
        async for rows in result.partitions(PORTION):
            yield await asyncio.to_thread(_buckets, rows)


def _buckets(rows: Iterable[Iterable[Any]]) -> list[m.AggregateBucket]:
    names = ("starts_at_ms", *NAMES)
    return [m.AggregateBucket(**dict(zip(names, row, strict=True))) for row in rows]


async def _alerts(connection: AsyncConnection, organization_id: str, period: Period) -> list[AlertRecord]:
    alert = AlertRow.__table__.c
    rows = await connection.execute(
        select(AlertRow.__table__)
        .where(alert.organization_id == organization_id, alert.started_at < period.ends_at)
        .where(alert.resolved_at.is_(None) | (alert.resolved_at >= period.starts_at))
    )
    return [
        AlertRecord(
            alert_id=row.alert_id,
            unit_id=row.unit_id,
            kind=m.AlertKind(row.kind),
            severity=m.Severity(row.severity),
            started_at_ms=to_ms(row.started_at),
            resolved_at_ms=None if row.resolved_at is None else to_ms(row.resolved_at),
            extreme_c=row.temperature_c if row.extreme_c is None else row.extreme_c,
            limit_c=row.limit_c,
            paging=row.paging,
            silent_because=row.silent_because,
            acknowledged_at_ms=None if row.acknowledged_at is None else to_ms(row.acknowledged_at),
            acknowledged_by=row.acknowledged_by,
            corrective_action=row.acknowledgement_note,
        )
        for row in rows
    ]


async def _sms(connection: AsyncConnection, organization_id: str, period: Period) -> SmsCounts:
    """Of requests, not of attempts."""
    entry = SmsAlertLogRow.__table__.c
    rows = await connection.execute(
        select(entry.outcome, func.count(entry.request_id.distinct()))
        .where(entry.organization_id == organization_id)
        .where(entry.at >= period.starts_at, entry.at < period.ends_at)
        .group_by(entry.outcome)
    )
    counts = {row[0]: int(row[1]) for row in rows}
    return SmsCounts(
        sent=counts.get("sent", 0),
        delivered=counts.get("delivered", 0),
        failed=counts.get("dead", 0),
        suppressed=counts.get("rate_limited", 0),
        opted_out=counts.get("opted_out", 0),
    )


async def _former(connection: AsyncConnection, job: Job, period: Period) -> Digest | None:
    """What the organization was last told of an earlier period; null where that is not known."""
    report = DigestReportRow.__table__.c
    content = await connection.scalar(
        select(report.content)
        .where(report.organization_id == job.organization_id, report.cadence == job.cadence)
        .where(report.timezone == job.timezone, report.period_starts_at == period.starts_at)
        .where(report.asked_for.is_(False))
        .order_by(report.as_of.desc())
        .limit(1)
    )
    return None if content is None else unpacked(content)


async def _revised(
    connection: AsyncConnection, job: Job, units: Sequence[m.UnitConfig], former: Digest, as_of_ms: int
) -> tuple[Revision, ...]:
    """Where the numbers of the period before are no longer those that were told."""
    period = former.period
    only: list[str] | None = None
    if former.complete:
        rows = await connection.scalars(
            select(BUCKET.unit_id)
            .where(BUCKET.organization_id == job.organization_id, BUCKET.revision > 1)
            .where(BUCKET.starts_at >= period.starts_at, BUCKET.starts_at < period.ends_at)
            .distinct()
        )
        only = list(rows)
        if not only:
            return ()
    now = await _summed_up(connection, job, units, period, as_of_ms, only=only)
    return revisions(period, {unit.unit_id: as_reported(unit) for unit in former.units}, now.units)


def packed(content: Digest) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(content), 1)


def unpacked(content: bytes) -> Digest | None:
    """Null for one that an older version kept in another form."""
    try:
        return _decode_digest(zlib.decompress(content))
    except (msgspec.MsgspecError, zlib.error) as error:
        log.warning("digest.former_unreadable", why=str(error))
        return None


def report_row(job: Job, made: Digest, readiness: Readiness) -> dict[str, object]:
    """The row of `digest_reports`."""
    period = made.period
    return {
        "job_id": job.job_id,
        "organization_id": job.organization_id,
        "cadence": job.cadence.value,
        "timezone": job.timezone,
        "period_starts_at": period.starts_at,
        "period_ends_at": period.ends_at,
        "asked_for": job.asked_for,
        "as_of": from_ms(made.as_of_ms),
        "complete": made.complete,
        "recorded_until": from_ms(readiness.recorded_until_ms),
        "content": packed(made),
    }
