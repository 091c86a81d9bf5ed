"""From an attempt to its end: what a receipt, its absence, or a status poll changes.

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

POLL_AGAIN_MS = 60_000
MOST_POLLS = 3


class ReceiptState(StrEnum):
    """Where one attempt stands."""

    SENDING = "sending"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    ON_ITS_WAY = "on_its_way"
    DELIVERED = "delivered"
    FAILED = "failed"
    UNCONFIRMED = "unconfirmed"
    NOT_ARRIVED = "not_arrived"


OPEN = frozenset({ReceiptState.SENDING, ReceiptState.UNKNOWN, ReceiptState.ACCEPTED, ReceiptState.ON_ITS_WAY})
ARRIVED = frozenset(ReceiptState) - {ReceiptState.SENDING, ReceiptState.UNKNOWN, ReceiptState.NOT_ARRIVED}
_KNOWLEDGE = {
    ReceiptState.SENDING: 0,
    ReceiptState.UNKNOWN: 1,
    ReceiptState.NOT_ARRIVED: 2,  # a guess: any receipt knows better
    ReceiptState.ACCEPTED: 3,
    ReceiptState.ON_ITS_WAY: 4,
    ReceiptState.UNCONFIRMED: 5,  # the carrier may yet say more
    ReceiptState.FAILED: 6,
    ReceiptState.DELIVERED: 7,  # it is on the phone, whatever was reported before
}

_BY_STATUS = {
    "queued": ReceiptState.ACCEPTED,
    "sending": ReceiptState.ACCEPTED,
    "sent": ReceiptState.ON_ITS_WAY,
    "delivered": ReceiptState.DELIVERED,
    "sending_failed": ReceiptState.FAILED,
    "delivery_failed": ReceiptState.FAILED,
    "expired": ReceiptState.FAILED,
    "delivery_unconfirmed": ReceiptState.UNCONFIRMED,
}


class Waits(msgspec.Struct, frozen=True):
    """How long no receipt means nothing: until an unknown attempt counts as never arrived, and until the provider is
    asked for the end of an accepted one.
    """

    receipt_ms: int
    final_ms: int


class Attempt(msgspec.Struct, frozen=True, array_like=True):
    """One try of one request; `left_at_ms` is when its `sending` was written."""

    attempt_id: str
    left_at_ms: int
    state: ReceiptState = ReceiptState.SENDING
    provider_message_id: str = ""
    error_code: str = ""
    polls: int = 0


class Nothing(msgspec.Struct, frozen=True):
    """Known already, or of no consequence."""


class Arrived(msgspec.Struct, frozen=True):
    """An attempt without an answer turns out to have reached the provider: record it as sent."""


class Delivered(msgspec.Struct, frozen=True):
    """It is on the phone."""


class DeliveryFailed(msgspec.Struct, frozen=True):
    """It will not come: escalate at once, and decide by the error's class whether to try again."""


class StaysUnknown(msgspec.Struct, frozen=True):
    """Whether it came will not be known: escalate."""


class PollStatus(msgspec.Struct, frozen=True):
    """No final receipt in time: `GET /v2/messages/{id}`."""


class MaySendAgain(msgspec.Struct, frozen=True):
    """No receipt for an attempt without an answer: as far as can be known it never arrived."""


Effect = Nothing | Arrived | Delivered | DeliveryFailed | StaysUnknown | PollStatus | MaySendAgain


def knows(status: str) -> bool:
    """Whether `status` is one of the provider's words; another is counted and changes nothing."""
    return status in _BY_STATUS


def accepted(attempt: Attempt, provider_message_id: str) -> Attempt:
    """The provider answered the request. A receipt may have been quicker."""
    state = max(attempt.state, ReceiptState.ACCEPTED, key=_KNOWLEDGE.__getitem__)
    return msgspec.structs.replace(attempt, state=state, provider_message_id=provider_message_id)


def unanswered(attempt: Attempt) -> Attempt:
    """No answer came, or a crash left none: unless a receipt was quicker, nobody knows."""
    if attempt.state is not ReceiptState.SENDING:
        return attempt
    return msgspec.structs.replace(attempt, state=ReceiptState.UNKNOWN)


def reported(
    attempt: Attempt, status: str, provider_message_id: str = "", error_code: str = ""
) -> tuple[Attempt, Effect]:
    """A receipt or a status poll says `status`.

    Failed after delivered changes nothing; delivered after failed does: the phone has it.
    """
    new = _BY_STATUS.get(status)
    if new is None or _KNOWLEDGE[new] <= _KNOWLEDGE[attempt.state]:
        return attempt, Nothing()
    known = msgspec.structs.replace(
        attempt,
        state=new,
        provider_message_id=attempt.provider_message_id or provider_message_id,
        error_code=error_code if new is ReceiptState.FAILED else "",
    )
    match new:
        case ReceiptState.DELIVERED:
            return known, Delivered()
        case ReceiptState.FAILED:
            return known, DeliveryFailed()
        case ReceiptState.UNCONFIRMED:
            return known, StaysUnknown()
        case _:
            return known, Nothing() if attempt.state in ARRIVED else Arrived()


def waited(attempt: Attempt, now_ms: int, waits: Waits) -> tuple[Attempt, Effect]:
    """The clock says `now_ms` and no receipt came; `due_at_ms` says when to call this.

    An attempt found as `sending` was left by a crash; it is waited for from then on as any unknown one.
    """
    if attempt.state not in OPEN or now_ms < due_at_ms(attempt, waits):
        return attempt, Nothing()
    if attempt.state in (ReceiptState.SENDING, ReceiptState.UNKNOWN):
        return msgspec.structs.replace(attempt, state=ReceiptState.NOT_ARRIVED), MaySendAgain()
    if attempt.polls < MOST_POLLS and attempt.provider_message_id:
        return msgspec.structs.replace(attempt, polls=attempt.polls + 1), PollStatus()
    return msgspec.structs.replace(attempt, state=ReceiptState.UNCONFIRMED), StaysUnknown()


def due_at_ms(attempt: Attempt, waits: Waits) -> int:
    """When silence about an attempt that is still open begins to mean something."""
    if attempt.state in (ReceiptState.SENDING, ReceiptState.UNKNOWN):
        return attempt.left_at_ms + waits.receipt_ms
    return attempt.left_at_ms + waits.final_ms + attempt.polls * POLL_AGAIN_MS
