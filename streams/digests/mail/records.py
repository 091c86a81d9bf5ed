"""Every decision about a mail as records: of `email-outcomes`, and beside it of `email-retries` or `email-dlq`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypedDict

import msgspec

from schemas import messages as m
from schemas.headers import Origin, event_headers, failure_headers
from schemas.topics import EMAIL_DLQ, EMAIL_OUTCOMES, EMAIL_REQUESTS, EMAIL_RETRIES
from streams.digests.progress import mail_progress
from streams.engine.publish import Outgoing
from streams.engine.unreadable import dead_letter

if TYPE_CHECKING:
    from domain.notification.decisions import Dead, Deferred, Paused, RetryAt
    from streams.engine.consumer import Record
    from streams.engine.interfaces import Clock


class Failure(NamedTuple):
    """Why something was given up, in a word and in words."""

    reason: str
    code: str
    text: str


class _About(TypedDict):
    """What every outcome says of its mail."""

    request_id: str
    organization_id: str
    user_id: str
    cadence: m.Cadence
    attempt: int
    at_ms: int


class EmailRecords:
    def __init__(self, now_ms: Clock) -> None:
        self._now_ms = now_ms

    def request(self, request: m.EmailRequest, trace: bytes) -> list[Outgoing]:
        headers = event_headers(request.request_id, "email", trace)
        return [
            Outgoing(EMAIL_REQUESTS, request.user_id.encode(), m.encode(request), headers),
            self._progress(request, m.DigestStatus.QUEUED),
        ]

    def sending(self, request: m.EmailRequest, attempt: int) -> list[Outgoing]:
        return [
            self._outcome(m.EmailSending(**self._about(request, attempt))),
            self._progress(request, m.DigestStatus.SENDING),
        ]

    def unknown(self, request: m.EmailRequest, attempt: int, message_id: str) -> list[Outgoing]:
        return [self._outcome(m.EmailUnknown(message_id=message_id, **self._about(request, attempt)))]

    def sent(self, request: m.EmailRequest, attempt: int, provider_message_id: str, message_id: str) -> list[Outgoing]:
        about = self._about(request, attempt)
        return [
            self._outcome(m.EmailSent(provider_message_id=provider_message_id, message_id=message_id, **about)),
            self._progress(request, m.DigestStatus.SENT),
        ]

    def cancelled(self, request: m.EmailRequest, because: str) -> list[Outgoing]:
        about = self._about(request, request.attempts)
        return [
            self._outcome(m.EmailCancelled(because=because, **about)),
            self._progress(request, m.DigestStatus.CANCELLED, because),
        ]

    def retry(
        self,
        request: m.EmailRequest,
        attempt: int,
        due_at_ms: int,
        decision: RetryAt | Deferred | Paused,
        record: Record,
    ) -> list[Outgoing]:
        """The mail comes again at `due_at_ms`, with `attempt` attempts behind it."""
        about = self._about(request, attempt)
        retry = m.EmailRetry(
            request=msgspec.structs.replace(request, attempts=attempt),
            attempt=attempt,
            due_at_ms=due_at_ms,
            error_code=decision.error_code,
            error=decision.error,
        )
        headers = failure_headers(
            f"{request.request_id}.{request.redrives}.{attempt}",
            "email_retry",
            attempt=attempt,
            error=decision.error,
            error_code=decision.error_code,
            origin=Origin.of(record),
            due_at_ms=due_at_ms,
        )
        return [
            self._outcome(m.EmailFailed(error_code=decision.error_code, error=decision.error, **about)),
            Outgoing(EMAIL_RETRIES, request.user_id.encode(), m.encode(retry), headers),
            self._outcome(m.EmailRetryScheduled(due_at_ms=due_at_ms, error_code=decision.error_code, **about)),
        ]

    def dead(self, request: m.EmailRequest, attempt: int, decision: Dead, record: Record) -> list[Outgoing]:
        about = self._about(request, attempt)
        letter = m.EmailDeadLetter(
            request=request,
            attempts=attempt,
            reason=decision.reason,
            error_code=decision.error_code,
            error=decision.error,
            at_ms=about["at_ms"],
        )
        headers = failure_headers(
            f"{request.request_id}.{request.redrives}",
            "email_dead_letter",
            attempt=attempt,
            error=decision.error,
            error_code=decision.error_code,
            origin=Origin.of(record),
        )
        return [
            self._outcome(m.EmailFailed(error_code=decision.error_code, error=decision.error, **about)),
            Outgoing(EMAIL_DLQ, request.user_id.encode(), m.encode(letter), headers),
            self._outcome(m.EmailDead(reason=decision.reason, error_code=decision.error_code, **about)),
            self._progress(request, m.DigestStatus.DEAD, decision.error),
        ]

    def unmade(self, wanted: m.DigestWanted, attempts: int, failure: Failure, record: Record) -> list[Outgoing]:
        """A digest that could not be made, so there is no mail."""
        letter = m.DigestDeadLetter(
            request=wanted,
            attempts=attempts,
            reason=failure.reason,
            error_code=failure.code,
            error=failure.text,
            at_ms=self._now_ms(),
        )
        headers = failure_headers(
            f"{wanted.digest_id}.{wanted.redrives}",
            "digest_dead",
            attempt=attempts,
            error=failure.text,
            error_code=failure.code,
            origin=Origin.of(record),
        )
        return [Outgoing(EMAIL_DLQ, wanted.user_id.encode(), m.encode(letter), headers)]

    def unreadable(self, record: Record, detail: str) -> list[Outgoing]:
        return [dead_letter(record, EMAIL_DLQ, detail, self._now_ms())]

    def _about(self, request: m.EmailRequest, attempt: int) -> _About:
        return {
            "request_id": request.request_id,
            "organization_id": request.organization_id,
            "user_id": request.user_id,
            "cadence": request.cadence,
            "attempt": attempt,
            "at_ms": self._now_ms(),
        }

    def _outcome(self, outcome: m.EmailOutcome) -> Outgoing:
        kind = str(outcome.__struct_config__.tag)
        headers = event_headers(f"{outcome.request_id}.{outcome.attempt}.{kind}", kind)
        return Outgoing(EMAIL_OUTCOMES, outcome.user_id.encode(), m.encode(outcome), headers)

    def _progress(self, request: m.EmailRequest, status: m.DigestStatus, error: str | None = None) -> Outgoing:
        return mail_progress(request, status, self._now_ms(), error)
