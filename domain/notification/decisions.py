"""What becomes of one message, SMS or mail, as named values: what the outcome topics record and people ask about later.

`retry_decision.py` decides after an answer, `suppression.py` and `rate_limit.py` before one. Waiting for a limiter, a
pause or a provider that is down is a deferral and uses up no attempt.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class DeadReason(StrEnum):
    """Why a message was given up."""

    NO_CONTACT = "no_contact"
    NO_PHONE = "no_phone"
    BAD_PHONE = "bad_phone"
    NO_ADDRESS = "no_address"
    BAD_ADDRESS = "bad_address"
    NO_LETTER = "no_letter"
    RECIPIENT = "recipient"
    MESSAGE = "message"
    ASK_A_PERSON = "ask_a_person"
    EXHAUSTED = "exhausted"
    EXPIRED = "expired"


class _Decision(msgspec.Struct, frozen=True, tag_field="decision"):
    """The tags are the decisions' names in metrics."""


class Sent(_Decision, frozen=True, tag="sent"):
    """The provider has it."""

    provider_message_id: str
    parts: int = 1


class RateLimited(_Decision, frozen=True, tag="rate_limited"):
    """Not sent, because `by_request_id` was sent to the same user for the same kind of alert. Not tried again."""

    until_at_ms: int
    by_request_id: str


class HeldBack(_Decision, frozen=True, tag="held_back"):
    """Not sent on its own: another SMS, at `until_at_ms` or soon after, names its alert too.

    `gathered`: it waits only for others that may come within seconds. Otherwise the window or the cap holds it back,
    because of `by_request_id`, and the next person is asked at once about a critical alert.
    """

    until_at_ms: int
    by_request_id: str
    gathered: bool
    over: bool = False
    """Its alert has ended: it is a line in the next SMS to the same person, and sends none of its own."""


class OptedOut(_Decision, frozen=True, tag="opted_out"):
    """Not sent: the person opted out. `at_the_provider`: only the provider knew, so our list must learn it."""

    at_the_provider: bool = False


class RetryAt(_Decision, frozen=True, tag="retry"):
    """The attempt failed; the next one is due at `due_at_ms`."""

    due_at_ms: int
    error_code: str
    error: str


class AwaitReceipt(_Decision, frozen=True, tag="await_receipt"):
    """The attempt had no answer and may have arrived. Without a receipt until then it is sent again."""

    until_at_ms: int
    error_code: str
    error: str


class Deferred(_Decision, frozen=True, tag="deferred"):
    """Not now, for a reason that has nothing to do with this request; no attempt is used up."""

    until_at_ms: int
    error_code: str
    error: str


class Paused(_Decision, frozen=True, tag="paused"):
    """Our set-up is refused: every message would be. No attempt is used, ops is notified once, a probe reopens."""

    error_code: str
    error: str


class Cancelled(_Decision, frozen=True, tag="cancelled"):
    """Not sent: nobody wants it any longer, such as a reminder whose alert was acknowledged before it left."""

    because: str


class Dead(_Decision, frozen=True, tag="dead"):
    """Given up; the request lies with the dead letters. `notify_ops`: it needs more than the next contact."""

    reason: DeadReason
    error_code: str
    error: str
    notify_ops: bool = False


Unreachable = OptedOut | Dead
AfterAnswer = Sent | RetryAt | AwaitReceipt | Deferred | Paused | OptedOut | Dead
Decision = AfterAnswer | RateLimited | HeldBack | Cancelled


def name_of(decision: Decision) -> str:
    """The decision's name in metrics."""
    return str(decision.__struct_config__.tag)
