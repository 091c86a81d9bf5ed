"""How far a user's summary is, as a record of `digest-progress`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import messages as m
from schemas.topics import DIGEST_PROGRESS
from streams.engine.publish import Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.domain.schedule import Period


def progress_of(
    wanted: m.DigestWanted,
    period: Period,
    status: m.DigestStatus,
    now_ms: int,
    topic_name: Callable[[str], str],
    error: str | None = None,
) -> Outgoing:
    """Before there is a mail."""
    return _outgoing(
        m.DigestProgress(
            digest_id=wanted.digest_id,
            user_id=wanted.user_id,
            organization_id=wanted.organization_id,
            cadence=wanted.cadence,
            timezone=wanted.timezone,
            period_starts_at_ms=period.starts_at_ms,
            period_ends_at_ms=period.ends_at_ms,
            status=status,
            progress=m.PROGRESS[status],
            at_ms=now_ms,
            asked_for=wanted.asked_for,
            error=error,
        ),
        topic_name,
    )


def mail_progress(
    request: m.EmailRequest,
    status: m.DigestStatus,
    now_ms: int,
    topic_name: Callable[[str], str],
    error: str | None = None,
) -> Outgoing:
    """From the mail on."""
    return _outgoing(
        m.DigestProgress(
            digest_id=request.request_id,
            user_id=request.user_id,
            organization_id=request.organization_id,
            cadence=request.cadence,
            timezone=request.timezone,
            period_starts_at_ms=request.period_starts_at_ms,
            period_ends_at_ms=request.period_ends_at_ms,
            status=status,
            progress=m.PROGRESS[status],
            at_ms=now_ms,
            asked_for=request.asked_for,
            error=error,
        ),
        topic_name,
    )


def _outgoing(progress: m.DigestProgress, topic_name: Callable[[str], str]) -> Outgoing:
    headers = (("id", f"{progress.digest_id}.{progress.status}".encode()), ("type", b"digest_progress"))
    return Outgoing(topic_name(DIGEST_PROGRESS.name), progress.user_id.encode(), m.encode(progress), headers)
