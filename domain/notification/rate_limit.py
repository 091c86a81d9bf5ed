"""One SMS per user and kind of alert in any 15 minutes.

The window slides: it begins when the provider accepted a message, not at a quarter of an hour, so two messages can
never stand on either side of a border. Only what was sent uses the slot. What is in flight *reserves* it: another
request waits for its fate instead of being dropped for a message that may yet fail.
"""

from __future__ import annotations

import msgspec

from domain.notification.decisions import Deferred, RateLimited

RESERVATION_MS = 60_000
"""A reservation that nobody settled ends by itself: longer than a request's time limit and the wait for a receipt."""


class Free(msgspec.Struct, frozen=True):
    """The slot may be reserved."""


class Occupied(msgspec.Struct, frozen=True):
    """`by_request_id` is in flight: ask again when it is settled, or at `until_at_ms` at the latest."""

    until_at_ms: int
    by_request_id: str


Slot = Free | Occupied | RateLimited


class Window(msgspec.Struct, frozen=True, array_like=True):
    """The slot of one user and kind of alert; one small record in a table. A new one is free.

    `held_back` counts the requests that were limited since the last SMS: the roll-up names it.
    """

    sent_at_ms: int | None = None
    sent_request_id: str = ""
    reserved_at_ms: int | None = None
    reserved_request_id: str = ""
    held_back: int = 0

    def slot(self, request_id: str, now_ms: int, window_ms: int) -> Slot:
        """Whether `request_id` may go out now. 14:59.999 after an SMS it may not, at 15:00.000 it may.

        Its own reservation is no obstacle (it crashed, and runs again); that it was sent itself is one.
        """
        if self.sent_at_ms is not None and now_ms < self.sent_at_ms + window_ms:
            return RateLimited(self.sent_at_ms + window_ms, self.sent_request_id)
        if self.reserved_at_ms is not None and self.reserved_request_id != request_id:
            ends_at_ms = self.reserved_at_ms + RESERVATION_MS
            if now_ms < ends_at_ms:
                return Occupied(ends_at_ms, self.reserved_request_id)
        return Free()

    def reserved(self, request_id: str, now_ms: int) -> Window:
        """`request_id` is about to go out; `slot` must have said `Free`."""
        return msgspec.structs.replace(self, reserved_at_ms=now_ms, reserved_request_id=request_id)

    def sent(self, request_id: str, at_ms: int) -> Window:
        """The provider accepted `request_id`: the window begins, and the count of what was held back is told.

        Reports may come late and out of order; the latest SMS counts.
        """
        if self.sent_at_ms is not None and at_ms <= self.sent_at_ms:
            return self.released(request_id)
        settled = self.released(request_id)
        return msgspec.structs.replace(settled, sent_at_ms=at_ms, sent_request_id=request_id, held_back=0)

    def released(self, request_id: str) -> Window:
        """`request_id` failed, or waits for a retry: the slot is free for others."""
        if self.reserved_request_id != request_id:
            return self
        return msgspec.structs.replace(self, reserved_at_ms=None, reserved_request_id="")

    def not_delivered(self, request_id: str) -> Window:
        """A receipt says that `request_id` failed after all: it was not really sent, and the slot is free again."""
        if self.sent_request_id != request_id:
            return self
        return msgspec.structs.replace(self, sent_at_ms=None, sent_request_id="")

    def limited(self) -> Window:
        """One more request was held back; the caller counts each request once."""
        return msgspec.structs.replace(self, held_back=self.held_back + 1)

    def is_over(self, now_ms: int, window_ms: int) -> bool:
        """Whether the record says no more than a new one does, and can be deleted."""
        sent = self.sent_at_ms is not None and now_ms < self.sent_at_ms + window_ms
        reserved = self.reserved_at_ms is not None and now_ms < self.reserved_at_ms + RESERVATION_MS
        return not (sent or reserved or self.held_back)


def when_limited(limited: RateLimited, level: int) -> RateLimited | Deferred:
    """A first SMS that is limited is logged and not tried again; a reminder waits for the window to open.

    Nobody answered the alert that a reminder is about, and its own first SMS is what limits it when both go to the
    same person: sent a moment after the alert, it still fills the window when the 15 minutes of the alert are over.
    """
    if level == 1:
        return limited
    return Deferred(limited.until_at_ms, "rate_limited", f"until the window of {limited.by_request_id} is over")
