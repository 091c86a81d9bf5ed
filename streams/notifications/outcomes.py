"""Every decision about an SMS as records: of `sms-outcomes`, and beside it of `sms-retries`, `sms-dlq`, `escalations`.

Nothing is sent here: whoever decided publishes what it gets, before it writes its own state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import msgspec

from domain.identity import derived_id
from schemas import messages as m
from schemas.headers import event_headers, failure_headers
from schemas.topics import ALERT_COMMANDS, ESCALATIONS, SMS_DLQ, SMS_INBOUND, SMS_OUTCOMES, SMS_RETRIES
from streams.engine.publish import Outgoing

if TYPE_CHECKING:
    from schemas.headers import Origin
    from streams.engine.interfaces import Clock
    from streams.notifications.ledger import NotifiedAlert


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
    """Makes the records of decisions."""

    def __init__(self, now_ms: Clock) -> None:
        self._now_ms = now_ms

    def sending(self, request: m.SmsRequest, attempt: int, attempt_id: str) -> list[Outgoing]:
        return [self._outcome(m.SmsSending(attempt_id=attempt_id, **self._about(request, attempt)))]

    def unknown(self, request: m.SmsRequest, attempt: int, attempt_id: str) -> list[Outgoing]:
        return [self._outcome(m.SmsUnknown(attempt_id=attempt_id, **self._about(request, attempt)))]

    def sent(self, request: m.SmsRequest, attempt: int, provider_message_id: str, parts: int) -> list[Outgoing]:
        about = self._about(request, attempt)
        sent = m.SmsSent(
            provider_message_id=provider_message_id,
            parts=parts,
            breach_at_ms=request.breach_at_ms,
            latency_ms=max(0, about["at_ms"] - request.requested_at_ms),
            **about,
        )
        return [self._outcome(sent)]

    def delivered(self, request: m.SmsRequest, attempt: int, provider_message_id: str) -> list[Outgoing]:
        """It is on the phone; the escalation goes by that."""
        about = self._about(request, attempt)
        delivered = m.PageDelivered(user_id=request.user_id, **self._of_alert(request))
        return [
            self._outcome(m.SmsDelivered(provider_message_id=provider_message_id, **about)),
            self._escalation(delivered, f"{request.request_id}.{request.redrives}.{attempt}.heard"),
        ]

    def unconfirmed(self, request: m.SmsRequest, attempt: int, provider_message_id: str) -> list[Outgoing]:
        """Whether it arrived will not be known; the escalation goes on."""
        outcome = m.SmsUnconfirmed(provider_message_id=provider_message_id, **self._about(request, attempt))
        return [self._outcome(outcome), self.undelivered(request, attempt, "unconfirmed")]

    def opted_out(self, request: m.SmsRequest, refused_e164: str | None) -> list[Outgoing]:
        """`refused_e164`: the number that the provider refused; None where our own list knew."""
        about = self._about(request, request.attempts)
        at_the_provider = refused_e164 is not None
        outcome = m.SmsOptedOut(at_the_provider=at_the_provider, number_told=bool(refused_e164), **about)
        outgoing = [self._outcome(outcome), self.undelivered(request, request.attempts, "opted_out")]
        if refused_e164:
            event_id = derived_id("refused number", request.request_id, request.redrives)
            stop = m.InboundSms(
                event_id=event_id, phone_e164=refused_e164, occurred_at_ms=about["at_ms"], text="STOP", via="provider"
            )
            headers = event_headers(event_id, "inbound_sms")
            outgoing.append(Outgoing(SMS_INBOUND, event_id.encode(), m.encode(stop), headers))
        return outgoing

    def rate_limited(self, request: m.SmsRequest, until_at_ms: int, by_request_id: str) -> list[Outgoing]:
        about = self._about(request, request.attempts)
        return [self._outcome(m.SmsRateLimited(until_at_ms=until_at_ms, by_request_id=by_request_id, **about))]

    def named(self, request: m.SmsRequest, provider_message_id: str, in_request_id: str) -> list[Outgoing]:
        about = self._about(request, request.attempts)
        named = m.SmsNamed(provider_message_id=provider_message_id, in_request_id=in_request_id, **about)
        return [self._outcome(named)]

    def cancelled(self, request: m.SmsRequest, because: str) -> list[Outgoing]:
        return [self._outcome(m.SmsCancelled(because=because, **self._about(request, request.attempts)))]

    def failed(self, request: m.SmsRequest, attempt: int, failure: Failure) -> list[Outgoing]:
        """An attempt failed; what follows is published beside it."""
        return [
            self._outcome(m.SmsFailed(error_code=failure.code, error=failure.text, **self._about(request, attempt)))
        ]

    def retry(
        self, request: m.SmsRequest, attempt: int, due_at_ms: int, failure: Failure, origin: Origin | None
    ) -> list[Outgoing]:
        """The request goes to `sms-retries` until `due_at_ms`; `attempt` is what it has used up by now."""
        retry = m.SmsRetry(
            request=msgspec.structs.replace(request, attempts=attempt),
            attempt=attempt,
            due_at_ms=due_at_ms,
            error_code=failure.code,
            error=failure.text,
        )
        headers = failure_headers(
            f"{request.request_id}.{request.redrives}.{attempt}",
            "sms_retry",
            attempt=attempt,
            error=failure.text,
            error_code=failure.code,
            origin=origin,
            due_at_ms=due_at_ms,
        )
        about = self._about(request, attempt)
        return [
            Outgoing(SMS_RETRIES, request.user_id.encode(), m.encode(retry), headers),
            self._outcome(m.SmsRetryScheduled(due_at_ms=due_at_ms, error_code=failure.code, **about)),
        ]

    def dead(
        self, request: m.SmsRequest, attempt: int, reason: str, failure: Failure, origin: Origin | None
    ) -> list[Outgoing]:
        """Given up: the request lies in `sms-dlq` for a person to look at, and the escalation does not wait for it."""
        about = self._about(request, attempt)
        letter = m.SmsDeadLetter(
            request=request,
            attempts=attempt,
            reason=reason,
            error_code=failure.code,
            error=failure.text,
            at_ms=about["at_ms"],
        )
        headers = failure_headers(
            f"{request.request_id}.{request.redrives}",
            "sms_dead",
            attempt=attempt,
            error=failure.text,
            error_code=failure.code,
            origin=origin,
        )
        return [
            Outgoing(SMS_DLQ, request.user_id.encode(), m.encode(letter), headers),
            self._outcome(m.SmsDead(reason=reason, error_code=failure.code, **about)),
            self.undelivered(request, attempt, reason),
        ]

    def undelivered(self, request: m.SmsRequest, attempt: int, because: str) -> Outgoing:
        """The SMS will not reach its user, or nobody will know: the escalation need not wait for an answer."""
        undelivered = m.PageUndelivered(user_id=request.user_id, because=because, **self._of_alert(request))
        return self._escalation(undelivered, f"{request.request_id}.{request.redrives}.{attempt}.missed")

    def acknowledged(self, alert: NotifiedAlert, user_id: str, event_id: str, at_ms: int) -> Outgoing:
        """A reply acknowledges an alert."""
        command = m.Acknowledge(
            alert_id=alert.alert_id,
            unit_id=alert.unit_id,
            organization_id=alert.organization_id,
            user_id=user_id,
            at_ms=at_ms,
            via="sms",
        )
        headers = event_headers(f"{event_id}.{alert.alert_id}", "acknowledge")
        return Outgoing(ALERT_COMMANDS, alert.unit_id.encode(), m.encode(command), headers)

    def replied(self, alert: NotifiedAlert, reply: m.InboundReply, meaning: str, at_ms: int) -> Outgoing:
        """Somebody who was paged about the alert answered."""
        event = m.PageReplied(
            alert_id=alert.alert_id,
            unit_id=alert.unit_id,
            organization_id=alert.organization_id,
            level=1,
            at_ms=at_ms,
            user_id=reply.user_id,
            meaning=meaning,
            text=reply.text,
        )
        return self._escalation(event, f"{reply.event_id}.{alert.alert_id}.replied")

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

    def _of_alert(self, request: m.SmsRequest) -> _OfAlert:
        return {
            "alert_id": request.alert_id,
            "unit_id": request.unit_id,
            "organization_id": request.organization_id,
            "level": request.level,
            "at_ms": self._now_ms(),
        }

    def _outcome(self, outcome: m.SmsOutcome) -> Outgoing:
        kind = str(outcome.__struct_config__.tag)
        headers = event_headers(f"{outcome.request_id}.{outcome.attempt}.{kind}", kind)
        return Outgoing(SMS_OUTCOMES, outcome.user_id.encode(), m.encode(outcome), headers)

    def _escalation(self, event: m.EscalationEvent, id_: str) -> Outgoing:
        headers = event_headers(id_, str(event.__struct_config__.tag))
        return Outgoing(ESCALATIONS, event.unit_id.encode(), m.encode(event), headers)


class _OfAlert(TypedDict):
    alert_id: str
    unit_id: str
    organization_id: str
    level: int
    at_ms: int
