"""What follows from a provider's answer to one mail; the classes and the retry policy are those of SMS."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from domain.notification import retry
from domain.notification.decisions import UNKNOWN_ERROR_ATTEMPTS, Cancelled, Deferred, RetryAt
from domain.notification.error_class import ErrorClass
from streams.digests.mail.answers import Refused, Taken, Unanswered

if TYPE_CHECKING:
    import random

    from schemas import messages as m
    from streams.digests.mail.answers import Answer

DEFERRAL_MS = 60_000


class DeadReason(StrEnum):
    """Why a mail was given up."""

    NO_CONTACT = "no_contact"
    NO_ADDRESS = "no_address"
    BAD_ADDRESS = "bad_address"
    NO_LETTER = "no_letter"
    RECIPIENT = "recipient"
    MESSAGE = "message"
    ASK_A_PERSON = "ask_a_person"
    EXHAUSTED = "exhausted"


class DeadMail(Struct, frozen=True):
    """Given up; the request lies with the dead letters."""

    reason: DeadReason
    error_code: str
    error: str


Decision = Taken | RetryAt | Deferred | Cancelled | DeadMail

_AT_ONCE = {
    ErrorClass.RECIPIENT: DeadReason.RECIPIENT,
    ErrorClass.MESSAGE: DeadReason.MESSAGE,
    ErrorClass.ASK_A_PERSON: DeadReason.ASK_A_PERSON,
}


def hindrance(
    request: m.EmailRequest, contact: m.Contact | None, preference: m.DigestPreference | None
) -> Cancelled | DeadMail | None:
    """Why the mail cannot, or must not, be sent at all; None when it may.

    Whoever unsubscribed or paused after the mail was queued gets it no more; a summary that a person asked for needs
    no preference.
    """
    if not request.asked_for and (
        preference is None or preference.paused or request.cadence not in preference.cadences
    ):
        return Cancelled("the user takes this summary no more")
    if contact is None:
        return DeadMail(DeadReason.NO_CONTACT, "no_contact", "the user is not among the contacts")
    if not contact.email:
        return DeadMail(DeadReason.NO_ADDRESS, "no_address", "the contact has no e-mail address")
    return None


def after_answer(
    answer: Answer, *, attempt: int, now_ms: int, rng: random.Random, policy: retry.RetryPolicy = retry.EMAIL
) -> Decision:
    """What follows from the `attempt`-th try (1 is the first).

    A mail that had no answer may have arrived. It is sent again all the same: its Message-ID is the same, by which
    mail programs and providers know a second copy, and a summary that never came is worse than one that came twice.
    """
    match answer:
        case Taken():
            return answer
        case Unanswered(kind, detail):
            if not policy.allows_another(attempt):
                return DeadMail(DeadReason.EXHAUSTED, str(kind), detail)
            return RetryAt(_later(now_ms, retry.timeout_delay_s(attempt)), str(kind), detail)
        case Refused():
            return _refused(answer, attempt, now_ms, rng, policy)


def _refused(answer: Refused, attempt: int, now_ms: int, rng: random.Random, policy: retry.RetryPolicy) -> Decision:
    if reason := _AT_ONCE.get(answer.error_class):
        return DeadMail(reason, answer.code, answer.detail)
    if answer.error_class is ErrorClass.OPTED_OUT:
        return Cancelled("the provider knows that the user takes no mails")
    if answer.error_class is ErrorClass.CONFIGURATION:
        # Every mail would be refused alike: nobody's attempts are used up while somebody puts it right.
        return Deferred(now_ms + DEFERRAL_MS, answer.code, answer.detail)
    delay_s, attempts = policy.delay_s(attempt, rng), policy.attempts
    if answer.error_class is ErrorClass.THROTTLED:
        delay_s = retry.throttled_delay_s(answer.retry_after_s)
    elif answer.error_class is ErrorClass.UNKNOWN:
        delay_s, attempts = retry.THROTTLED_S, min(UNKNOWN_ERROR_ATTEMPTS, attempts)
    elif answer.retry_after_s is not None:
        delay_s = max(delay_s, retry.throttled_delay_s(answer.retry_after_s))
    if attempt >= attempts:
        return DeadMail(DeadReason.EXHAUSTED, answer.code, answer.detail)
    return RetryAt(_later(now_ms, delay_s), answer.code, answer.detail)


def _later(now_ms: int, delay_s: float) -> int:
    return now_ms + round(delay_s * 1000)
