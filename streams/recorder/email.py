"""`email-outcomes` → `email_log`: every decision about an e-mail; that of a page is a step of its alert's timeline.

`page-emails` → the timeline: whom a page was sent by e-mail, why, and what it says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from schemas import messages as m
from schemas.topics import EMAIL_OUTCOMES, PAGE_EMAILS
from streams.recorder.alerts import TIMELINE, TimelineEntry
from streams.recorder.rows import Incoming, Instant, SqlRow, clean, insert

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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
SINKS = (LOG, TIMELINE)


def page_rows(record: Incoming) -> Sequence[SqlRow]:
    """A page by e-mail, as it was requested."""
    page = PAGE_EMAILS.decode(record.value)
    if page.attempts or page.provider_failures:
        return ()
    detail = {"because": page.because.value, "text": clean(page.text)}
    return _step(record, page, page.requested_at_ms, "email_requested", detail)


def outcome_rows(record: Incoming) -> Sequence[SqlRow]:
    outcome = EMAIL_OUTCOMES.decode(record.value)
    match outcome:
        case m.PageEmailSent():
            return _step(record, outcome, outcome.at_ms, "email_sent", {"because": outcome.because.value})
        case m.PageEmailFailed():
            detail = {"error_code": outcome.error_code, "error": clean(outcome.error)}
            return _step(record, outcome, outcome.at_ms, "email_failed", detail)
        case m.PageEmailDead():
            detail = {"reason": outcome.reason, "error": clean(outcome.error)}
            return _step(record, outcome, outcome.at_ms, "email_dead", detail)
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


def _step(
    record: Incoming,
    page: m.PageEmail | m.PageMailOutcome,
    at_ms: int,
    event: str,
    detail: Mapping[str, str],
) -> Sequence[SqlRow]:
    if page.alert_id is None:
        return ()
    step = TimelineEntry(
        alert_id=page.alert_id,
        organization_id=page.organization_id,
        at=at_ms,
        event=event,
        user_id=page.user_id,
        detail=m.encode(detail).decode(),
        message_id=record.message_id,
        source_topic=record.topic,
        source_partition=record.partition,
        source_offset=record.offset,
    )
    return (step,)


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
