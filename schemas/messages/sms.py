"""SMS: requests, every decision about one, retries, receipts and dead letters."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from schemas.messages.fields import AtMs, Id
from schemas.messages.severity import AlertKind, Severity


class SmsRequest(Struct, frozen=True, kw_only=True, tag_field="type", tag="sms"):
    """One SMS to one person; key: user id. `request_id` is a UUIDv5 of (alert, user, escalation level).

    The phone number is not here: it is looked up among the contacts when the message leaves.
    """

    request_id: Id
    alert_id: Id
    unit_id: Id
    organization_id: Id
    user_id: Id
    kind: AlertKind
    severity: Severity
    level: Annotated[int, Meta(ge=1)] = 1
    text: Annotated[str, Meta(min_length=1, max_length=1600)]
    label: Annotated[str, Meta(description="What an SMS that names several alerts says of this one")] = ""
    all_clear: Annotated[bool, Meta(description="It tells of the alert's end; it never counts for a window")] = False
    confirms: Annotated[bool, Meta(description="It answers an acknowledgement by SMS; never counts for a window")] = (
        False
    )
    forced: Annotated[bool, Meta(description="A person ordered it now: it passes the window")] = False
    first: Annotated[bool, Meta(description="It begins the chain, whatever its level: it is no reminder")] = False
    round: Annotated[int, Meta(ge=0, description="How often the chain began again before this request")] = 0
    breach_at_ms: AtMs
    requested_at_ms: AtMs
    attempts: Annotated[int, Meta(ge=0, description="Attempts that were made and failed before this record")] = 0
    redrives: Annotated[int, Meta(ge=0, description="How often a person sent it again from the dead letters")] = 0
    provider_failures: Annotated[
        int, Meta(ge=0, description="Failures of the provider so far; they use up no attempt")
    ] = 0


class SmsOutcome(Struct, frozen=True, kw_only=True, tag_field="type"):
    """A decision about one SMS; key: user id."""

    request_id: Id
    alert_id: Id
    organization_id: Id
    user_id: Id
    kind: AlertKind
    severity: Severity
    attempt: Annotated[int, Meta(ge=0)]
    at_ms: AtMs


class SmsSending(SmsOutcome, frozen=True, kw_only=True, tag="sending"):
    """Written to the ledger before the request leaves, so that a crash in between is seen."""

    attempt_id: Id


class SmsSent(SmsOutcome, frozen=True, kw_only=True, tag="sent"):
    """The provider accepted it. That is not yet delivered."""

    provider_message_id: str
    parts: int
    breach_at_ms: AtMs
    latency_ms: Annotated[int, Meta(description="From the arrival of the request to the provider's answer")]


class SmsDelivered(SmsOutcome, frozen=True, kw_only=True, tag="delivered"):
    provider_message_id: str


class SmsFailed(SmsOutcome, frozen=True, kw_only=True, tag="failed"):
    """An attempt failed; `retry_scheduled`, `dead` or a later success follows."""

    error_code: str
    error: str


class SmsRateLimited(SmsOutcome, frozen=True, kw_only=True, tag="rate_limited"):
    """Not sent on its own: an earlier SMS of this kind to this user was. Unless strict, a later one names its alert."""

    until_at_ms: AtMs
    by_request_id: Id


class SmsNamed(SmsOutcome, frozen=True, kw_only=True, tag="named"):
    """Not sent on its own: the SMS of `in_request_id` named its alert."""

    provider_message_id: str
    in_request_id: Id


class SmsRetryScheduled(SmsOutcome, frozen=True, kw_only=True, tag="retry_scheduled"):
    due_at_ms: AtMs
    error_code: str


class SmsOptedOut(SmsOutcome, frozen=True, kw_only=True, tag="opted_out"):
    """The person wants no SMS. `at_the_provider`: only the provider knew, so our own list must learn it."""

    at_the_provider: bool = False
    number_told: Annotated[
        bool, Meta(description="The number that was refused is in `sms-inbound`; its user may have another one by now")
    ] = False


class SmsUnconfirmed(SmsOutcome, frozen=True, kw_only=True, tag="unconfirmed"):
    """Sent, and whether it arrived will not be known: nobody reported it, and the provider cannot say."""

    provider_message_id: str


class SmsCancelled(SmsOutcome, frozen=True, kw_only=True, tag="cancelled"):
    """A reminder that was not sent, because its alert was acknowledged, resolved or silenced meanwhile."""

    because: str


class SmsUnknown(SmsOutcome, frozen=True, kw_only=True, tag="unknown"):
    """A request left and no answer came: it waits for a receipt before it may be sent again."""

    attempt_id: Id


class SmsDead(SmsOutcome, frozen=True, kw_only=True, tag="dead"):
    """Given up; the request lies in `sms-dlq`."""

    reason: str
    error_code: str


Outcome = (
    SmsSending
    | SmsSent
    | SmsDelivered
    | SmsFailed
    | SmsRateLimited
    | SmsNamed
    | SmsRetryScheduled
    | SmsOptedOut
    | SmsUnknown
    | SmsUnconfirmed
    | SmsCancelled
    | SmsDead
)


class SmsRetry(Struct, frozen=True, kw_only=True, tag_field="type", tag="sms_retry"):
    """A failed attempt that waits for its due time; key: user id."""

    request: SmsRequest
    attempt: Annotated[int, Meta(ge=0, description="Attempts used up so far; a deferral uses none")]
    due_at_ms: AtMs
    error_code: str
    error: str


class ReceiptDue(Struct, frozen=True, kw_only=True, tag_field="type", tag="receipt_due"):
    """No final receipt came in time for an SMS that the provider accepted: ask it; key: user id."""

    request_id: Id
    user_id: Id
    attempt_id: Id


class PageOverdue(Struct, frozen=True, kw_only=True, tag_field="type", tag="page_overdue"):
    """A critical page that was deferred may still not be accepted: then its user reads it by e-mail; key: user id."""

    request: SmsRequest


SmsReturn = SmsRetry | ReceiptDue | PageOverdue


class SmsReceipt(Struct, frozen=True, kw_only=True, tag_field="type"):
    """A webhook of the SMS provider; key: user id."""

    event_id: Id
    user_id: Id
    occurred_at_ms: AtMs


class DeliveryReceipt(SmsReceipt, frozen=True, kw_only=True, tag="delivery"):
    request_id: Id
    attempt_id: Id
    provider_message_id: str
    status: str
    error_code: str | None = None


class InboundReply(SmsReceipt, frozen=True, kw_only=True, tag="inbound"):
    text: Annotated[str, Meta(max_length=1600)]


Receipt = DeliveryReceipt | InboundReply


class InboundSms(Struct, frozen=True, kw_only=True, tag_field="type", tag="inbound_sms"):
    """An SMS that somebody sent us, as the provider's signed webhook has it; key: event id.

    Whose number it is the workers know, so that replies need no database.
    """

    event_id: Id
    phone_e164: Annotated[str, Meta(pattern=r"^\+[1-9]\d{1,14}$")]
    occurred_at_ms: Annotated[int, Meta(description="By the provider's clock")]
    text: Annotated[str, Meta(max_length=1600)]
    via: Annotated[
        str, Meta(description="`sms`; `provider`: it refused the number, because its owner once answered STOP")
    ] = "sms"


class SmsDeadLetter(Struct, frozen=True, kw_only=True, tag_field="type", tag="sms_dead"):
    """An SMS that a person must look at; key: user id."""

    request: SmsRequest
    attempts: Annotated[int, Meta(ge=0)]
    reason: str
    error_code: str
    error: str
    at_ms: AtMs
