"""`digest-progress` → `digest_ledger`: how far each user's summary is. `email-dlq` → `job_failures`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from schemas import messages as m
from schemas.topics import DIGEST_JOBS, EMAIL_REQUESTS
from streams.recorder.failures import JobFailure, unreadable_letter
from streams.recorder.rows import Incoming, Instant, SqlRow, insert

if TYPE_CHECKING:
    from collections.abc import Sequence

_decode = msgspec.json.Decoder(m.DigestProgress).decode
_decode_letter: msgspec.json.Decoder[m.EmailDeadLetter | m.DigestDeadLetter | m.UnreadableRecord] = (
    msgspec.json.Decoder(m.EmailDeadLetter | m.DigestDeadLetter | m.UnreadableRecord)
)


class Summary(SqlRow, frozen=True, kw_only=True, gc=False):
    digest_id: str
    user_id: str
    organization_id: str
    cadence: str
    timezone: str
    period_starts_at: Instant
    period_ends_at: Instant
    status: str
    progress: int
    asked_for: bool
    changed_at: Instant
    sent_at: Instant | None
    error: str | None


# A step that is told again after a crash takes nothing back. What was sent stays sent; what was given up can only be
# sent again by a person, which begins with `sending`.
LEDGER = insert(
    Summary,
    "digest_ledger",
    newest_of=("digest_id",),
    newest_by="new.progress DESC, new.number DESC",
    on_conflict=(
        "(digest_id) DO UPDATE SET status = excluded.status, progress = excluded.progress,"
        " changed_at = excluded.changed_at, sent_at = excluded.sent_at, error = excluded.error"
        f" WHERE digest_ledger.status <> '{m.DigestStatus.SENT}'"
        f" AND excluded.progress >= least(digest_ledger.progress, {m.PROGRESS[m.DigestStatus.SENDING]})"
    ),
)


def progress_rows(record: Incoming) -> Sequence[SqlRow]:
    step = _decode(record.value or b"")
    return (
        Summary(
            digest_id=step.digest_id,
            user_id=step.user_id,
            organization_id=step.organization_id,
            cadence=step.cadence.value,
            timezone=step.timezone,
            period_starts_at=step.period_starts_at_ms,
            period_ends_at=step.period_ends_at_ms,
            status=step.status.value,
            progress=step.progress,
            asked_for=step.asked_for,
            changed_at=step.at_ms,
            sent_at=step.at_ms if step.status is m.DigestStatus.SENT else None,
            error=step.error,
        ),
    )


def dead_email_rows(record: Incoming) -> Sequence[SqlRow]:
    """A mail that was given up, or a summary that could not be made."""
    letter = _decode_letter.decode(record.value or b"")
    if isinstance(letter, m.UnreadableRecord):
        return (unreadable_letter(record, letter),)
    of_mail = isinstance(letter, m.EmailDeadLetter)
    request = letter.request
    return (
        JobFailure(
            organization_id=request.organization_id,
            user_id=request.user_id,
            request_id=request.request_id if isinstance(request, m.EmailRequest) else request.digest_id,
            lane=(EMAIL_REQUESTS if of_mail else DIGEST_JOBS).name,
            reason=letter.reason,
            error_code=letter.error_code,
            error=letter.error,
            attempts=letter.attempts,
            redrives=request.redrives,
            payload=record.value or b"",
            failed_at=letter.at_ms,
            message_id=record.message_id,
            source_topic=record.topic,
            source_partition=record.partition,
            source_offset=record.offset,
        ),
    )
