"""Every decision about an SMS as a record of `sms-outcomes`, with what goes beside it to `sms-retries` or `sms-dlq`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import msgspec

from schemas import messages as m
from schemas.topics import SMS_DLQ, SMS_OUTCOMES, SMS_RETRIES
from streams.engine.publish import Outgoing
from streams.unreadable import dead_letter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiokafka import ConsumerRecord


class Failure(msgspec.Struct, frozen=True):
    """Why an attempt failed: the provider's code (or `timeout`, `connection`) and its words."""

    code: str
    text: str


class _About(TypedDict):
    """What every outcome says of its request."""

    request_id: str
    alert_id: str
    organization_id: str
    user_id: str
    kind: m.AlertKind
    severity: m.Severity
    attempt: int
    at_ms: int


class Outcomes:
    """Publishes decisions and waits for the broker's acknowledgement of each."""

    def __init__(
        self,
        publish: Callable[[Sequence[Outgoing]], Awaitable[None]],
        topic_name: Callable[[str], str],
        now_ms: Callable[[], int],
    ) -> None:
        self._publish = publish
        self._outcomes = topic_name(SMS_OUTCOMES.name)
        self._retries = topic_name(SMS_RETRIES.name)
        self._dead = topic_name(SMS_DLQ.name)
        self._now_ms = now_ms

    async def sending(self, request: m.SmsRequest, attempt: int, attempt_id: str) -> None:
        await self._publish([self._outcome(m.SmsSending(attempt_id=attempt_id, **self._about(request, attempt)))])

    async def unknown(self, request: m.SmsRequest, attempt: int, attempt_id: str) -> None:
        await self._publish([self._outcome(m.SmsUnknown(attempt_id=attempt_id, **self._about(request, attempt)))])

    async def sent(self, request: m.SmsRequest, attempt: int, provider_message_id: str, parts: int) -> None:
        about = self._about(request, attempt)
        latency_ms = max(0, about["at_ms"] - request.requested_at_ms)
        await self._publish(
            [
                self._outcome(
                    m.SmsSent(
                        provider_message_id=provider_message_id,
                        parts=parts,
                        breach_at_ms=request.breach_at_ms,
                        latency_ms=latency_ms,
                        **about,
                    )
                )
            ]
        )

    async def opted_out(self, request: m.SmsRequest) -> None:
        await self._publish([self._outcome(m.SmsOptedOut(**self._about(request, request.attempts)))])

    async def retry(self, request: m.SmsRequest, attempt: int, due_at_ms: int, failure: Failure) -> None:
        """The attempt failed and the request goes to `sms-retries` until `due_at_ms`."""
        about = self._about(request, attempt)
        retry = m.SmsRetry(
            request=msgspec.structs.replace(request, attempts=attempt),
            attempt=attempt,
            due_at_ms=due_at_ms,
            error_code=failure.code,
            error=failure.text,
        )
        headers = (
            *self._headers(f"{request.request_id}.{attempt}", "sms_retry", attempt, failure),
            ("due-at", str(due_at_ms).encode()),
        )
        await self._publish(
            [
                self._outcome(m.SmsFailed(error_code=failure.code, error=failure.text, **about)),
                Outgoing(self._retries, request.user_id.encode(), m.encode(retry), headers),
                self._outcome(m.SmsRetryScheduled(due_at_ms=due_at_ms, error_code=failure.code, **about)),
            ]
        )

    async def dead(self, request: m.SmsRequest, attempt: int, reason: str, failure: Failure) -> None:
        """Given up: the request lies in `sms-dlq` for a person to look at."""
        about = self._about(request, attempt)
        letter = m.SmsDeadLetter(
            request=request,
            attempts=attempt,
            reason=reason,
            error_code=failure.code,
            error=failure.text,
            at_ms=about["at_ms"],
        )
        headers = self._headers(request.request_id, "sms_dead", attempt, failure)
        await self._publish(
            [
                self._outcome(m.SmsFailed(error_code=failure.code, error=failure.text, **about)),
                Outgoing(self._dead, request.user_id.encode(), m.encode(letter), headers),
                self._outcome(m.SmsDead(reason=reason, error_code=failure.code, **about)),
            ]
        )

    async def unreadable(self, record: ConsumerRecord, detail: str) -> None:
        await self._publish([dead_letter(record, self._dead, detail, self._now_ms())])

    def _about(self, request: m.SmsRequest, attempt: int) -> _About:
        return {
            "request_id": request.request_id,
            "alert_id": request.alert_id,
            "organization_id": request.organization_id,
            "user_id": request.user_id,
            "kind": request.kind,
            "severity": request.severity,
            "attempt": attempt,
            "at_ms": self._now_ms(),
        }

    def _outcome(self, outcome: m.SmsOutcome) -> Outgoing:
        kind = str(outcome.__struct_config__.tag)
        return Outgoing(
            self._outcomes,
            outcome.user_id.encode(),
            m.encode(outcome),
            (("id", f"{outcome.request_id}.{outcome.attempt}.{kind}".encode()), ("type", kind.encode())),
        )

    @staticmethod
    def _headers(id_: str, kind: str, attempt: int, failure: Failure) -> tuple[tuple[str, bytes], ...]:
        return (
            ("id", id_.encode()),
            ("type", kind.encode()),
            ("attempt", str(attempt).encode()),
            ("error", failure.text.encode()),
            ("error-code", failure.code.encode()),
        )
