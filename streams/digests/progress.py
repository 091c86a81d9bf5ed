"""How far a user's digest is, as a record of `digest-progress`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import messages as m
from schemas.headers import event_headers
from schemas.topics import DIGEST_PROGRESS
from streams.engine.publish import Outgoing

if TYPE_CHECKING:
    from domain.digest.schedule import Period


def progress_of(
    wanted: m.DigestWanted, period: Period, status: m.DigestStatus, now_ms: int, error: str | None = None
) -> Outgoing:
    """Before there is a mail."""
    ends = (period.starts_at_ms, period.ends_at_ms)
    return _outgoing(wanted, wanted.digest_id, ends, status, now_ms, error)


def mail_progress(request: m.EmailRequest, status: m.DigestStatus, now_ms: int, error: str | None = None) -> Outgoing:
    """From the mail on."""
    ends = (request.period_starts_at_ms, request.period_ends_at_ms)
    return _outgoing(request, request.request_id, ends, status, now_ms, error)


def _outgoing(
    of: m.DigestWanted | m.EmailRequest,
    digest_id: str,
    period_ms: tuple[int, int],
    status: m.DigestStatus,
    now_ms: int,
    error: str | None,
) -> Outgoing:
    progress = m.DigestProgress(
        digest_id=digest_id,
        user_id=of.user_id,
        organization_id=of.organization_id,
        cadence=of.cadence,
        timezone=of.timezone,
        period_starts_at_ms=period_ms[0],
        period_ends_at_ms=period_ms[1],
        status=status,
        progress=m.PROGRESS[status],
        at_ms=now_ms,
        asked_for=of.asked_for,
        error=error,
    )
    headers = event_headers(f"{digest_id}.{status}", "digest_progress")
    return Outgoing(DIGEST_PROGRESS, of.user_id.encode(), m.encode(progress), headers)
