"""Reads from SQL what a digest is made of, all of it in one snapshot, and sums it up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from domain.digest.cadences import CADENCES, Layout
from domain.digest.courses import courses
from domain.digest.digest import digest
from domain.digest.facts import Digest, Revision, Source, Sums
from domain.digest.revisions import last_reported, revisions
from domain.digest.schedule import Period, previous_period
from streams.digests.bucket_source import buckets
from streams.digests.day_totals import day_courses, totals_between
from streams.digests.incident_source import alerts, sms_counts
from streams.digests.reports import earlier_digests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from domain.digest.jobs import Job, Readiness
    from schemas import messages as m


async def made_digest(
    engine: AsyncEngine, job: Job, units: Sequence[m.UnitConfig], readiness: Readiness, as_of_ms: int
) -> Digest:
    """The numbers of a job. Raises what SQLAlchemy raises, and ScheduleError."""
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        earlier = await earlier_digests(connection, job)
        names = {unit.unit_id: unit.name for known in earlier for unit in known.units}
        source = Source(
            organization_id=job.organization_id,
            organization_name=next((unit.organization_name for unit in units if unit.organization_name), ""),
            units=units,
            courses=(),
            names=names,
            due_at_ms=job.due_at_ms,
            unit_ids=job.unit_ids,
            complete=readiness.complete,
            waited_ms=readiness.waited_ms,
            recorded_until_ms=None if readiness.complete else readiness.recorded_until_ms or None,
            before=await _before(connection, job, units, earlier, as_of_ms),
            revisions=await _revised(connection, job, earlier),
        )
        return await _summed_up(connection, source, job.period, as_of_ms)


async def _summed_up(connection: AsyncConnection, source: Source, period: Period, as_of_ms: int) -> Digest:
    organization_id, only = source.organization_id, source.unit_ids
    source = replace(
        source,
        alerts=await alerts(connection, organization_id, period),
        sms=await sms_counts(connection, organization_id, period, only),
        courses=await day_courses(connection, organization_id, period, only)
        if CADENCES[period.cadence].layout is Layout.ANALYTICS
        else courses(buckets(connection, organization_id, period, only), period),
    )
    return await asyncio.to_thread(digest, source, period, as_of_ms)


async def _before(
    connection: AsyncConnection, job: Job, units: Sequence[m.UnitConfig], earlier: Sequence[Digest], as_of_ms: int
) -> Sums | None:
    """The sums of the period before: as reported, else summed up if the mail compares with them."""
    before = previous_period(job.period)
    for known in earlier:
        if known.period.starts_at == before.starts_at:
            return known.sums
    if CADENCES[job.cadence].layout is not Layout.ANALYTICS:
        return None
    source = Source(
        organization_id=job.organization_id, organization_name="", units=units, courses=(), unit_ids=job.unit_ids
    )
    sums = (await _summed_up(connection, source, before, as_of_ms)).sums
    return sums if sums.numbers.total_readings else None


async def _revised(connection: AsyncConnection, job: Job, earlier: Sequence[Digest]) -> tuple[Revision, ...]:
    """Where the numbers of earlier periods differ from those reported last."""
    found: list[Revision] = []
    for number, known in enumerate(earlier):
        period = known.period
        now = await totals_between(connection, job.organization_id, period.starts_at, period.ends_at, job.unit_ids)
        found += revisions(period, last_reported(known, earlier[number + 1 :]), now)
    return tuple(found)
