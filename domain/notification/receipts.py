"""From an attempt to its end: what a receipt, a silence or the provider's answer to our question changes.

    sending ──► accepted ──► on_its_way ──► delivered | failed | unconfirmed
       └──► unknown ──────────┘ (any receipt proves that it arrived)
               └──► not_arrived (nothing came in time: the request may be sent again)

Telnyx has no idempotency key for messages, so `sending` is written down before a request leaves: found again after a
crash, it is `unknown`. Receipts are repeated and overtake each other; one that says less than is known changes nothing.
Source of the words: Telnyx, "Receiving webhooks" (`message.sent`, `message.finalized`), field `to[].status`.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

RECEIPT_WAIT_MS = 20_000
FINAL_WAIT_MS = 5 * 60_000
ASK_AGAIN_MS = 60_000
MOST_QUESTIONS = 3


class Standing(StrEnum):
    """Where one attempt stands."""

    SENDING = "sending"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    ON_ITS_WAY = "on_its_way"
    DELIVERED = "delivered"
    FAILED = "failed"
    UNCONFIRMED = "unconfirmed"
    NOT_ARRIVED = "not_arrived"


OPEN = frozenset({Standing.SENDING, Standing.UNKNOWN, Standing.ACCEPTED, Standing.ON_ITS_WAY})
ARRIVED = frozenset(Standing) - {Standing.SENDING, Standing.UNKNOWN, Standing.NOT_ARRIVED}
_KNOWLEDGE = {
    Standing.SENDING: 0,
    Standing.UNKNOWN: 1,
    Standing.NOT_ARRIVED: 2,  # a guess: any receipt knows better
    Standing.ACCEPTED: 3,
    Standing.ON_ITS_WAY: 4,
    Standing.UNCONFIRMED: 5,  # the carrier may yet say more
    Standing.FAILED: 6,
    Standing.DELIVERED: 7,  # it is on the phone, whatever was reported before
}

_BY_STATUS = {
    "queued": Standing.ACCEPTED,
    "sending": Standing.ACCEPTED,
    "sent": Standing.ON_ITS_WAY,
    "delivered": Standing.DELIVERED,
    "sending_failed": Standing.FAILED,
    "delivery_failed": Standing.FAILED,
    "expired": Standing.FAILED,
    "delivery_unconfirmed": Standing.UNCONFIRMED,
}


class Waits(msgspec.Struct, frozen=True):
    """How long silence means nothing: until an unknown attempt counts as never arrived, until the provider is asked
    for the end of an accepted one, and from question to question.
    """

    receipt_ms: int = RECEIPT_WAIT_MS
    final_ms: int = FINAL_WAIT_MS
    ask_again_ms: int = ASK_AGAIN_MS


WAITS = Waits()


class Attempt(msgspec.Struct, frozen=True, array_like=True):
    """One try of one request; `left_at_ms` is when its `sending` was written."""

    attempt_id: str
    left_at_ms: int
    standing: Standing = Standing.SENDING
    provider_message_id: str = ""
    error_code: str = ""
    questions: int = 0


class Nothing(msgspec.Struct, frozen=True):
    """Known already, or of no consequence."""


class Arrived(msgspec.Struct, frozen=True):
    """An attempt without an answer turns out to have reached the provider: record it as sent."""


class Delivered(msgspec.Struct, frozen=True):
    """It is on the phone."""


class DeliveryFailed(msgspec.Struct, frozen=True):
    """It will not come: escalate at once, and decide by the code whether to try again."""

    error_code: str


class StaysUnknown(msgspec.Struct, frozen=True):
    """Whether it came will not be known: escalate."""


class AskProvider(msgspec.Struct, frozen=True):
    """No final receipt in time: `GET /v2/messages/{id}`."""


class MaySendAgain(msgspec.Struct, frozen=True):
    """No receipt for an attempt without an answer: as far as can be known it never arrived."""


Effect = Nothing | Arrived | Delivered | DeliveryFailed | StaysUnknown | AskProvider | MaySendAgain


def knows(status: str) -> bool:
    """Whether `status` is one of the provider's words; another is counted and changes nothing."""
    return status in _BY_STATUS


def accepted(attempt: Attempt, provider_message_id: str) -> Attempt:
    """The provider answered the request. A receipt may have been quicker."""
    standing = max(attempt.standing, Standing.ACCEPTED, key=_KNOWLEDGE.__getitem__)
    return msgspec.structs.replace(attempt, standing=standing, provider_message_id=provider_message_id)


def unanswered(attempt: Attempt) -> Attempt:
    """No answer came, or a crash left none: unless a receipt was quicker, nobody knows."""
    if attempt.standing is not Standing.SENDING:
        return attempt
    return msgspec.structs.replace(attempt, standing=Standing.UNKNOWN)


def reported(
    attempt: Attempt, status: str, provider_message_id: str = "", error_code: str = ""
) -> tuple[Attempt, Effect]:
    """A receipt, or the provider's answer to our question, says `status`.

    Failed after delivered changes nothing; delivered after failed does: the phone has it.
    """
    new = _BY_STATUS.get(status)
    if new is None or _KNOWLEDGE[new] <= _KNOWLEDGE[attempt.standing]:
        return attempt, Nothing()
    known = msgspec.structs.replace(
        attempt,
        standing=new,
        provider_message_id=attempt.provider_message_id or provider_message_id,
        error_code=error_code if new is Standing.FAILED else "",
    )
    match new:
        case Standing.DELIVERED:
            return known, Delivered()
        case Standing.FAILED:
            return known, DeliveryFailed(error_code)
        case Standing.UNCONFIRMED:
            return known, StaysUnknown()
        case _:
            return known, Nothing() if attempt.standing in ARRIVED else Arrived()


def waited(attempt: Attempt, now_ms: int, waits: Waits = WAITS) -> tuple[Attempt, Effect]:
    """The clock says `now_ms` and no receipt came; `due_at_ms` says when to call this.

    An attempt found as `sending` was left by a crash; it is waited for from then on as any unknown one.
    """
    if attempt.standing not in OPEN or now_ms < due_at_ms(attempt, waits):
        return attempt, Nothing()
    if attempt.standing in (Standing.SENDING, Standing.UNKNOWN):
        return msgspec.structs.replace(attempt, standing=Standing.NOT_ARRIVED), MaySendAgain()
    if attempt.questions < MOST_QUESTIONS and attempt.provider_message_id:
        return msgspec.structs.replace(attempt, questions=attempt.questions + 1), AskProvider()
    return msgspec.structs.replace(attempt, standing=Standing.UNCONFIRMED), StaysUnknown()


def due_at_ms(attempt: Attempt, waits: Waits = WAITS) -> int:
    """When silence about an attempt that is still open begins to mean something."""
    if attempt.standing in (Standing.SENDING, Standing.UNKNOWN):
        return attempt.left_at_ms + waits.receipt_ms
    return attempt.left_at_ms + waits.final_ms + attempt.questions * waits.ask_again_ms
