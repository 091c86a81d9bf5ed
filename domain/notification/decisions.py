"""What becomes of one SMS request, as named values: what the outcome topic records and people ask about later.

The provider's client says what happened (`sms_answers.py`); here it is decided what follows. A wait for a limiter, a
paused lane or a provider that is down is a deferral and uses up no attempt.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from domain.identity import derived_id
from domain.notification import retry
from domain.notification.error_class import ErrorClass
from domain.notification.phone import phone_problem
from domain.notification.sms_answers import Accepted, Answer, Refused, Unanswered
from streams.notifications.telnyx.codes import CodeRow, classify

if TYPE_CHECKING:
    import random

    from schemas import messages as m

RECEIPT_WAIT_S = 20.0
UNKNOWN_ERROR_ATTEMPTS = 2


class DeadReason(StrEnum):
    """Why a request was given up."""

    NO_CONTACT = "no_contact"
    NO_PHONE = "no_phone"
    BAD_PHONE = "bad_phone"
    RECIPIENT = "recipient"
    MESSAGE = "message"
    ASK_A_PERSON = "ask_a_person"
    EXHAUSTED = "exhausted"
    STALE = "stale"


class Sent(msgspec.Struct, frozen=True):
    """The provider has it."""

    provider_message_id: str
    parts: int


class RateLimited(msgspec.Struct, frozen=True):
    """Not sent, because `by_request_id` was sent to the same user for the same kind of alert. Not tried again."""

    until_at_ms: int
    by_request_id: str


class OptedOut(msgspec.Struct, frozen=True):
    """Not sent: the person wants no SMS. `at_the_provider`: only the provider knew, so our list must learn it."""

    at_the_provider: bool = False


class RetryAt(msgspec.Struct, frozen=True):
    """The attempt failed; the next one is due at `due_at_ms`."""

    due_at_ms: int
    error_code: str
    error: str


class AwaitReceipt(msgspec.Struct, frozen=True):
    """The attempt had no answer and may have arrived. Without a receipt until then it counts as failed.

    Then the request is sent again, or is dead when this was the `last` attempt. In an outage, `uses_attempt` is false:
    the provider answers nobody, which says nothing about this request.
    """

    until_at_ms: int
    last: bool
    error_code: str
    error: str
    uses_attempt: bool = True


class Deferred(msgspec.Struct, frozen=True):
    """Not now, for a reason that has nothing to do with this request; no attempt is used up."""

    until_at_ms: int
    error_code: str
    error: str


class PauseLane(msgspec.Struct, frozen=True):
    """Our set-up is refused: every message would be. Nothing is used up, ops is told once, a probe re-opens."""

    error_code: str
    error: str


class Cancelled(msgspec.Struct, frozen=True):
    """Not sent: a reminder whose alert was acknowledged, resolved or silenced before it left."""

    because: str


class Dead(msgspec.Struct, frozen=True):
    """Given up; the request lies with the dead letters. `ops_told`: it needs more than the next contact."""

    reason: DeadReason
    error_code: str
    error: str
    ops_told: bool = False


Unreachable = OptedOut | Dead
AfterAnswer = Sent | RetryAt | AwaitReceipt | Deferred | PauseLane | OptedOut | Dead
Decision = AfterAnswer | RateLimited | Cancelled


def sms_request_id(alert_id: str, user_id: str, level: int) -> str:
    """One request for each alert, user and escalation level, however often the alert is read."""
    return derived_id("sms request", alert_id, user_id, level)


def attempt_id(request_id: str, attempt: int, redrives: int = 0) -> str:
    """One try of a request; it stands in the webhook's address. A person's redrive counts attempts from 1 again."""
    return derived_id("sms attempt", request_id, redrives, attempt)


def unreachable(contact: m.Contact | None) -> Unreachable | None:
    """Why `contact` cannot be texted at all, or None."""
    if contact is None:
        return Dead(DeadReason.NO_CONTACT, "no_contact", "the user is not among the contacts")
    if contact.sms_opted_out:
        return OptedOut()
    if contact.phone_e164 is None:
        return Dead(DeadReason.NO_PHONE, "no_phone", "the contact has no phone number")
    if problem := phone_problem(contact.phone_e164):
        return Dead(DeadReason.BAD_PHONE, "bad_phone", f"the contact's phone number is {problem}")
    return None


def after_answer(
    answer: Answer,
    *,
    attempt: int,
    now_ms: int,
    rng: random.Random,
    policy: retry.RetryPolicy = retry.SMS,
    receipt_wait_s: float | None = RECEIPT_WAIT_S,
    provider_down_until_ms: int | None = None,
) -> AfterAnswer:
    """What follows from the `attempt`-th try (1 is the first).

    `receipt_wait_s` is None when no webhook tells of receipts. `provider_down_until_ms` is set while the provider is
    known to be down (`outage.py`): a failure of its side is then deferred.
    """
    match answer:
        case Accepted(provider_message_id, parts):
            return Sent(provider_message_id, parts)
        case Unanswered():
            return _unanswered(answer, attempt, now_ms, policy, receipt_wait_s, provider_down_until_ms)
        case Refused(code, title, http_status):
            row = classify(code, http_status)
            if provider_down_until_ms is not None and http_status >= 500 and row.error_class is ErrorClass.TRANSIENT:
                return Deferred(provider_down_until_ms, code, title or row.title)
            return _refused(row, answer, attempt, now_ms, policy, rng)


def after_failed_delivery(
    error_code: str,
    *,
    attempt: int,
    now_ms: int,
    rng: random.Random,
    policy: retry.RetryPolicy = retry.SMS,
) -> AfterAnswer:
    """What follows when a receipt says that an accepted message failed with `error_code` ("" if it names none)."""
    refused = Refused(error_code or "no-code", "", 0)
    return _refused(classify(refused.code), refused, attempt, now_ms, policy, rng)


def no_receipt_came(waited: AwaitReceipt, *, now_ms: int) -> RetryAt | Deferred | Dead:
    """The end of a wait: the attempt failed, as far as anybody can know."""
    if not waited.uses_attempt:
        return Deferred(max(now_ms, waited.until_at_ms), waited.error_code, waited.error)
    if waited.last:
        return Dead(DeadReason.EXHAUSTED, waited.error_code, waited.error, ops_told=True)
    return RetryAt(max(now_ms, waited.until_at_ms), waited.error_code, waited.error)


def _unanswered(
    answer: Unanswered,
    attempt: int,
    now_ms: int,
    policy: retry.RetryPolicy,
    receipt_wait_s: float | None,
    provider_down_until_ms: int | None,
) -> AfterAnswer:
    code, error = str(answer.kind), answer.detail
    due_at_ms = _later(now_ms, retry.timeout_delay_s(attempt))
    last = not policy.allows_another(attempt)
    if answer.may_have_arrived:
        known_at_ms = due_at_ms if receipt_wait_s is None else max(due_at_ms, _later(now_ms, receipt_wait_s))
        if provider_down_until_ms is not None:
            until_at_ms = max(known_at_ms, provider_down_until_ms)
            return AwaitReceipt(until_at_ms, last=False, error_code=code, error=error, uses_attempt=False)
        return AwaitReceipt(known_at_ms, last, code, error)
    if provider_down_until_ms is not None:
        return Deferred(provider_down_until_ms, code, error)
    if last:
        return Dead(DeadReason.EXHAUSTED, code, error, ops_told=True)
    return RetryAt(due_at_ms, code, error)


_DEAD_AT_ONCE = {
    ErrorClass.RECIPIENT: DeadReason.RECIPIENT,
    ErrorClass.MESSAGE: DeadReason.MESSAGE,
    ErrorClass.ASK_A_PERSON: DeadReason.ASK_A_PERSON,
}


def _refused(
    row: CodeRow, answer: Refused, attempt: int, now_ms: int, policy: retry.RetryPolicy, rng: random.Random
) -> AfterAnswer:
    code, error = answer.code, answer.title or row.title
    if reason := _DEAD_AT_ONCE.get(row.error_class):
        return Dead(reason, code, error, row.ops_told)
    if row.error_class is ErrorClass.OPTED_OUT:
        return OptedOut(at_the_provider=True)
    if row.error_class is ErrorClass.CONFIGURATION:
        return PauseLane(code, error)
    delay_s = policy.delay_s(attempt, rng)
    allowed = policy.allows_another(attempt)
    if row.error_class is ErrorClass.THROTTLED:
        delay_s = retry.throttled_delay_s(answer.retry_after_s)
    elif row.error_class is ErrorClass.UNKNOWN:
        # It may be fatal for all we know: once more after a good while, then a person.
        delay_s = retry.THROTTLED_S
        allowed = attempt < min(UNKNOWN_ERROR_ATTEMPTS, policy.attempts)
    elif answer.retry_after_s is not None:
        delay_s = max(delay_s, retry.throttled_delay_s(answer.retry_after_s))
    if not allowed:
        return Dead(DeadReason.EXHAUSTED, code, error, ops_told=True)
    return RetryAt(_later(now_ms, delay_s), code, error)


def _later(now_ms: int, delay_s: float) -> int:
    return now_ms + round(delay_s * 1000)
