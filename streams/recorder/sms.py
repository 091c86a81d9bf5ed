"""The SMS lanes → `sms_requests`: what each SMS says. `sms-outcomes` → `sms_alert_log`: what became of it.

Numbers that the provider reports as opted out → `opt_outs`, and from there by the outbox to `contacts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import messages as m
from schemas.topics import SMS_CRITICAL, SMS_OUTCOMES
from streams.recorder.inbound import Wish, Wishes
from streams.recorder.rows import Incoming, Instant, SqlRow, Statement, clean, insert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection


class Request(SqlRow, frozen=True, kw_only=True, gc=False):
    """A request as it came, so that its text can be shown and it can be sent again."""

    request_id: str
    alert_id: str
    organization_id: str
    user_id: str
    requested_at: Instant
    level: int
    text: str
    redrives: int
    payload: bytes


class LogEntry(SqlRow, frozen=True, kw_only=True, gc=False):
    request_id: str
    alert_id: str
    organization_id: str
    user_id: str
    kind: str
    severity: str
    outcome: str
    attempt: int
    at: Instant
    attempt_id: str | None = None
    provider_message_id: str | None = None
    parts: int | None = None
    latency_ms: int | None = None
    until_at: Instant | None = None
    due_at: Instant | None = None
    by_request_id: str | None = None
    error_code: str | None = None
    error: str | None = None
    source_topic: str
    source_partition: int
    source_offset: int


class OptedOut(SqlRow, frozen=True, kw_only=True, gc=False):
    """The provider refuses this user's number, says a record of an earlier version; now `sms-inbound` says which."""

    user_id: str
    opted_out_at: Instant


class OptOuts:
    """Writes the numbers, and publishes every contact that has one of them, in the same transaction."""

    row = OptedOut
    table = "opt_outs"
    _number = Statement(
        OptedOut,
        table,
        "SELECT users.phone_e164, new.opted_out_at FROM {rows} JOIN users USING (user_id)"
        " WHERE users.phone_e164 IS NOT NULL",
    )

    async def write(self, connection: AsyncConnection, rows: Sequence[OptedOut]) -> None:
        found = await self._number.fetch(connection, rows)
        if found:
            wishes = [Wish(phone_e164=str(row[0]), via="provider", opted_out_at=row[1]) for row in map(tuple, found)]
            await Wishes().write(connection, wishes)


# A retry in the lane changes nothing; a redrive replaces the request that it repeats.
REQUESTS = insert(
    Request,
    "sms_requests",
    newest_of=("request_id",),
    newest_by="new.redrives DESC",
    on_conflict=(
        "(request_id) DO UPDATE SET redrives = excluded.redrives, payload = excluded.payload"
        " WHERE sms_requests.redrives < excluded.redrives"
    ),
)
LOG = insert(LogEntry, "sms_alert_log", on_conflict="DO NOTHING")
SINKS = (LOG, OptOuts())


def request_rows(record: Incoming) -> Sequence[SqlRow]:
    request = SMS_CRITICAL.decode(record.value)
    return (
        Request(
            request_id=request.request_id,
            alert_id=request.alert_id,
            organization_id=request.organization_id,
            user_id=request.user_id,
            requested_at=request.requested_at_ms,
            level=request.level,
            text=clean(request.text),
            redrives=request.redrives,
            payload=record.value or b"",
        ),
    )


def outcome_rows(record: Incoming) -> Sequence[SqlRow]:
    """A row of the log for each outcome."""
    outcome = SMS_OUTCOMES.decode(record.value)
    entry = LogEntry(
        request_id=outcome.request_id,
        alert_id=outcome.alert_id,
        organization_id=outcome.organization_id,
        user_id=outcome.user_id,
        kind=outcome.kind,
        severity=outcome.severity,
        outcome=str(outcome.__struct_config__.tag),
        attempt=outcome.attempt,
        at=outcome.at_ms,
        attempt_id=getattr(outcome, "attempt_id", None),
        provider_message_id=getattr(outcome, "provider_message_id", None),
        parts=getattr(outcome, "parts", None),
        latency_ms=getattr(outcome, "latency_ms", None),
        until_at=getattr(outcome, "until_at_ms", None),
        due_at=getattr(outcome, "due_at_ms", None),
        by_request_id=_cause(outcome),
        error_code=getattr(outcome, "error_code", None),
        error=_words(outcome),
        source_topic=record.topic,
        source_partition=record.partition,
        source_offset=record.offset,
    )
    if isinstance(outcome, m.SmsOptedOut) and outcome.at_the_provider and not outcome.number_told:
        return entry, OptedOut(user_id=outcome.user_id, opted_out_at=outcome.at_ms)
    return (entry,)


def _cause(outcome: m.Outcome) -> str | None:
    """The SMS because of which this one was not sent on its own."""
    match outcome:
        case m.SmsRateLimited():
            return outcome.by_request_id
        case m.SmsNamed():
            return outcome.in_request_id
        case _:
            return None


def _words(outcome: m.Outcome) -> str | None:
    match outcome:
        case m.SmsFailed():
            return outcome.error
        case m.SmsDead():
            return outcome.reason
        case m.SmsCancelled():
            return outcome.because
        case m.SmsOptedOut(at_the_provider=True):
            return "at the provider"
        case _:
            return None
