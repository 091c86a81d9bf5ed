"""`email-outcomes` → `email_log`: every decision about an e-mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from schemas import messages as m
from schemas.topics import EMAIL_OUTCOMES
from streams.recorder.rows import Incoming, Instant, SqlRow, clean, insert

if TYPE_CHECKING:
    from collections.abc import Sequence


class EmailLogEntry(SqlRow, frozen=True, kw_only=True, gc=False):
    request_id: str
    organization_id: str
    user_id: str
    cadence: str
    outcome: str
    attempt: int
    at: Instant
    provider_message_id: str | None
    message_id: str | None
    due_at: Instant | None
    error_code: str | None
    error: str | None
    source_topic: str
    source_partition: int
    source_offset: int


LOG = insert(EmailLogEntry, "email_log", on_conflict="DO NOTHING")


def outcome_rows(record: Incoming) -> Sequence[SqlRow]:
    outcome = EMAIL_OUTCOMES.decode(record.value)
    return (
        EmailLogEntry(
            request_id=outcome.request_id,
            organization_id=outcome.organization_id,
            user_id=outcome.user_id,
            cadence=outcome.cadence.value,
            outcome=str(outcome.__struct_config__.tag),
            attempt=outcome.attempt,
            at=outcome.at_ms,
            provider_message_id=getattr(outcome, "provider_message_id", None),
            message_id=getattr(outcome, "message_id", None),
            due_at=getattr(outcome, "due_at_ms", None),
            error_code=getattr(outcome, "error_code", None),
            error=_words(outcome),
            source_topic=record.topic,
            source_partition=record.partition,
            source_offset=record.offset,
        ),
    )


def _words(outcome: m.MailOutcome) -> str | None:
    match outcome:
        case m.EmailFailed():
            return clean(outcome.error)
        case m.EmailDead():
            return outcome.reason
        case m.EmailCancelled():
            return outcome.because
        case m.EmailSending() | m.EmailSent() | m.EmailUnknown() | m.EmailRetryScheduled():
            return None
        case _:
            assert_never(outcome)
