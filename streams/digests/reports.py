"""The numbers of each job as SQL keeps them, and what recipients of a new digest know of earlier periods."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import structlog
from sqlalchemy import func, select

from database.declarative import from_ms
from database.digests import DigestReportRow
from domain.digest.facts import Digest
from domain.digest.revisions import CHANGES_WITHIN_MS
from domain.digest.schedule import zone

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from domain.digest.jobs import Job, Readiness

log = structlog.get_logger(__name__)

REPORT = DigestReportRow.__table__.c
_decode = msgspec.msgpack.Decoder(Digest).decode


def packed(content: Digest) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(content), 1)


def unpacked(content: bytes) -> Digest | None:
    """Null for one that an older version stored in another form."""
    try:
        return _decode(zlib.decompress(content))
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


async def earlier_digests(connection: AsyncConnection, job: Job) -> list[Digest]:
    """The regular digests of earlier periods whose numbers may have changed since the newest of them, oldest first.

    One a period, of the same units: that of the same local hour, as the recipients of `job` got it, else the newest.
    """
    mine = (
        REPORT.organization_id == job.organization_id,
        REPORT.cadence == job.cadence,
        REPORT.timezone == job.timezone,
        REPORT.asked_for.is_(False),
        REPORT.period_starts_at < job.period.starts_at,
    )
    newest = select(func.max(REPORT.as_of)).where(*mine).scalar_subquery()
    rows = await connection.scalars(
        select(REPORT.content)
        .where(*mine, REPORT.period_ends_at > newest - timedelta(milliseconds=CHANGES_WITHIN_MS))
        .order_by(REPORT.as_of)
    )
    by_period: dict[datetime, Digest] = {}
    for digest in filter(None, map(unpacked, rows)):
        if digest.unit_ids != job.unit_ids:
            continue
        known = by_period.get(digest.period.starts_at)
        if known is None or not _same_hour(known, job) or _same_hour(digest, job):
            by_period[digest.period.starts_at] = digest
    return sorted(by_period.values(), key=lambda digest: digest.as_of_ms)


def _same_hour(digest: Digest, job: Job) -> bool:
    return _local_hour(digest.due_at_ms, job.timezone) == _local_hour(job.due_at_ms, job.timezone)


def _local_hour(at_ms: int, timezone: str) -> int:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone(timezone)).hour
