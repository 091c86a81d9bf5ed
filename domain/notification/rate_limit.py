"""One SMS per user and kind of alert in any 15 minutes, and what becomes of the alerts that this holds back.

The window slides: it begins when the provider accepted a message, not at a quarter of an hour, so two messages can
never stand on either side of a border. Only what was sent uses the slot. What is in flight *reserves* it: another
request waits for its fate instead of being dropped for a message that may yet fail.

A message is never limited by one of lower severity. What is limited is held back, not dropped: a critical alert for a
few seconds, so that one SMS names all that came meanwhile, as often as the cap allows; anything else until the window
ends, where one SMS (the roll-up) names all of it.
"""

from __future__ import annotations

import msgspec

from domain.notification.decisions import RateLimited

RESERVATION_MS = 60_000
"""A reservation that nobody settled ends by itself: longer than a request's time limit and the wait for a receipt."""


class Free(msgspec.Struct, frozen=True):
    """The slot may be reserved."""


class Occupied(msgspec.Struct, frozen=True):
    """`by_request_id` is in flight: ask again when it is settled, or at `until_at_ms` at the latest."""

    until_at_ms: int
    by_request_id: str


Slot = Free | Occupied | RateLimited


class Held(msgspec.Struct, frozen=True, array_like=True):
    """A request that waits to be named by another's SMS; `request` is the message itself, encoded."""

    request_id: str
    request: bytes


class Window(msgspec.Struct, frozen=True, array_like=True):
    """The slot of one user, kind of alert and severity; one small record in a table. A new one is free.

    `held` are the requests that wait for `due_at_ms`: then the first of them that comes back names them all.
    """

    sent_at_ms: int | None = None
    sent_request_id: str = ""
    reserved_at_ms: int | None = None
    reserved_request_id: str = ""
    held_back: int = 0
    """No longer used: of rows that an earlier version wrote."""
    left_at_ms: tuple[int, ...] = ()
    held: tuple[Held, ...] = ()
    due_at_ms: int = 0

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

    def cap_free_at_ms(self, most: int, now_ms: int, window_ms: int) -> int:
        """When another SMS may leave without more than `most` in any window: `now_ms`, or later."""
        recent = [at_ms for at_ms in self.left_at_ms if at_ms > now_ms - window_ms]
        return now_ms if len(recent) < most else recent[-most] + window_ms

    def holds(self, request_id: str) -> bool:
        return any(held.request_id == request_id for held in self.held)

    def holding(self, held: Held, due_at_ms: int) -> Window:
        """`held` waits with the others; the first of them says until when."""
        if self.holds(held.request_id):
            return self
        due_at_ms = min(self.due_at_ms, due_at_ms) if self.held else due_at_ms
        return msgspec.structs.replace(self, held=(*self.held, held), due_at_ms=due_at_ms)

    def named(self, request_ids: frozenset[str]) -> Window:
        """These requests were named in an SMS, or need not be any more."""
        kept = tuple(held for held in self.held if held.request_id not in request_ids)
        return msgspec.structs.replace(self, held=kept)

    def reserved(self, request_id: str, now_ms: int) -> Window:
        """`request_id` is about to go out; `slot` must have said `Free`."""
        return msgspec.structs.replace(self, reserved_at_ms=now_ms, reserved_request_id=request_id)

    def sent(self, request_id: str, at_ms: int, window_ms: int) -> Window:
        """The provider accepted `request_id`: the window begins.

        Reports may come late and out of order; the latest SMS counts.
        """
        settled = self.released(request_id)
        if self.sent_at_ms is not None and at_ms <= self.sent_at_ms:
            return settled
        left = (*(earlier for earlier in self.left_at_ms if earlier > at_ms - window_ms), at_ms)
        return msgspec.structs.replace(settled, sent_at_ms=at_ms, sent_request_id=request_id, left_at_ms=left)

    def released(self, request_id: str) -> Window:
        """`request_id` failed, or waits for a retry: the slot is free for others."""
        if self.reserved_request_id != request_id:
            return self
        return msgspec.structs.replace(self, reserved_at_ms=None, reserved_request_id="")

    def not_delivered(self, request_id: str) -> Window:
        """A receipt says that `request_id` failed after all: it was not really sent, and the slot is free again."""
        if self.sent_request_id != request_id:
            return self
        return msgspec.structs.replace(self, sent_at_ms=None, sent_request_id="", left_at_ms=self.left_at_ms[:-1])

    def is_over(self, now_ms: int, window_ms: int) -> bool:
        """Whether the record says nothing beyond what a new one says, and can be deleted."""
        sent = self.sent_at_ms is not None and now_ms < self.sent_at_ms + window_ms
        reserved = self.reserved_at_ms is not None and now_ms < self.reserved_at_ms + RESERVATION_MS
        return not (sent or reserved or self.held)
