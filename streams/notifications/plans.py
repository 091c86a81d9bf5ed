"""What to do with one SMS request now: send it, conclude it without sending, or leave it. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from domain.notification.decisions import (
    AwaitReceipt,
    Cancelled,
    Dead,
    DeadReason,
    Deferred,
    HeldBack,
    OptedOut,
    RateLimited,
)
from domain.notification.request_ids import attempt_id
from domain.notification.suppression import sms_suppression
from schemas import messages as m
from streams.notifications.windows import Windows, counts_for_window, is_aside, is_reminder

if TYPE_CHECKING:
    from streams.engine.interfaces import Entries, Slot
    from streams.notifications.closed_alerts import Closed
    from streams.notifications.ledger import Entry, Ledger
    from streams.notifications.sms_policy import SmsPolicy

LOOK_AGAIN_MS = 12 * 3_600_000


class Skip(msgspec.Struct, frozen=True):
    """Settled already, or another record of the request will act."""


class Send(msgspec.Struct, frozen=True):
    """Send it as this attempt. `found_sending`: somebody died between asking the provider and hearing it."""

    phone_e164: str
    attempt: int
    attempt_id: str
    found_sending: bool
    text: str
    counts_for_cap: bool
    carried: tuple[m.SmsRequest, ...] = ()


WithoutSending = AwaitReceipt | Cancelled | Dead | Deferred | HeldBack | OptedOut | RateLimited


class Conclude(msgspec.Struct, frozen=True):
    """Decided without asking the provider; `attempt` is how many attempts are used up."""

    decision: WithoutSending
    attempt: int


Plan = Skip | Send | Conclude


def is_revocable(request: m.SmsRequest, entry: Entry) -> bool:
    """Whether any order about its alert stops it: a reminder, or an SMS that its window held back.

    A first SMS goes out also in a silence, or when the alert was over before: people must know that it happened. Only
    an acknowledgement stops that too; one that is older than the order or the rise that the SMS is about does not.
    """
    return not is_aside(request) and (is_reminder(request) or entry.waited_for_window)


def revocation(closed: Closed, request: m.SmsRequest, entry: Entry, now_ms: int) -> Cancelled | Deferred | None:
    """Why the request is not sent now, by what was read of its alert; a silence only puts off.

    What its window held back is sent even if the alert is over: nothing that was held back stays untold.
    """
    why = closed.why_closed(request.alert_id, request.severity, now_ms)
    if not is_revocable(request, entry):
        return _taken(closed, request) if why == "acknowledged" else None
    if why is None or (entry.waited_for_window and why == "resolved"):
        return None
    until_ms = closed.silenced_until_ms(request.alert_id)
    if until_ms is None:
        return Cancelled(why)
    # In pieces, because an alert's end is not remembered for as long as a silence may last.
    return Deferred(min(until_ms, now_ms + LOOK_AGAIN_MS), why, "somebody silenced the alert")


def _taken(closed: Closed, request: m.SmsRequest) -> Cancelled | None:
    """Somebody took the alert before its first SMS left; a person's redrive is newer than that."""
    at_ms = closed.acknowledged_at_ms(request.alert_id)
    if at_ms is None or is_aside(request) or request.redrives:
        return None
    return Cancelled("acknowledged") if request.first or at_ms > request.requested_at_ms else None


class Planner:
    def __init__(
        self, ledger: Ledger, contacts: Entries[m.Contact], closed: Closed, partitions: int, policy: SmsPolicy
    ) -> None:
        self._ledger = ledger
        self._contacts = contacts
        self._closed = closed
        self._partitions = partitions
        self._policy = policy
        self._windows = Windows(ledger, closed, policy)

    def sends(self, slot: Slot, request: m.SmsRequest, now_ms: int) -> bool:
        """Whether the plan is to send now; no where planning fails, which whoever acts on the plan meets again."""
        try:
            return isinstance(self.plan(slot, request, now_ms), Send)
        except Exception:  # noqa: BLE001 - raised here it would end the loop that serves all messages
            return False

    def plan(self, slot: Slot, request: m.SmsRequest, now_ms: int) -> Plan:  # noqa: PLR0911 - in this order
        entry = self._ledger.entry(slot, request.request_id)
        if not entry.may_try(request):
            return Skip()
        entry = entry.of(request)
        contact = self._contacts.get(request.user_id)
        if entry.found_sending and self._policy.receipts:
            return Conclude(self._wait_for_receipt(now_ms), entry.attempt)
        if suppressed := sms_suppression(contact):
            return Conclude(suppressed, request.attempts)
        assert contact is not None
        assert contact.phone_e164 is not None
        if revoked := revocation(self._closed, request, entry, now_ms):
            return Conclude(revoked, request.attempts)
        if entry.only_named:
            return Conclude(Cancelled("resolved"), request.attempts)
        if dead := self._given_up(request, entry, now_ms):
            return Conclude(dead, request.attempts)
        if unwanted := self._unwanted(slot, request, entry, now_ms):
            return Conclude(unwanted, request.attempts)
        limit = self._windows.limit(slot, request, now_ms) or self._cap(slot, request, contact, now_ms)
        if limit is not None:
            return Conclude(limit, request.attempts)
        attempt = request.attempts + 1
        carried = self._windows.carried(slot, request, entry, now_ms)
        return Send(
            contact.phone_e164,
            attempt,
            attempt_id(request.request_id, attempt, request.redrives, request.provider_failures),
            entry.found_sending,
            self._windows.text(request, carried, now_ms),
            contact.organization_sms_per_hour is not None and not _is_exempt(request),
            carried,
        )

    def _unwanted(self, slot: Slot, request: m.SmsRequest, entry: Entry, now_ms: int) -> Cancelled | HeldBack | None:
        if request.all_clear:
            # Whoever was not paged need not hear of the end.
            notified = {alert.alert_id for alert in self._ledger.notified(slot, request.user_id, now_ms)}
            return None if request.alert_id in notified else Cancelled("not_paged")
        late = now_ms - request.requested_at_ms >= self._policy.late_ms
        if request.confirms:
            return Cancelled("late") if late else None
        over = self._closed.why_closed(request.alert_id, request.severity, now_ms) == "resolved"
        if not (late and over) or entry.waited_for_window:
            return None
        if self._policy.strict or not self._policy.window_ms or not counts_for_window(request):
            return Cancelled("resolved")
        # For as long as a window: the next SMS to this person says that it was, and is over.
        return HeldBack(now_ms + self._policy.window_ms, request.request_id, gathered=True, over=True)

    def _wait_for_receipt(self, now_ms: int) -> AwaitReceipt:
        error = "the worker ended before the provider's answer was written down"
        return AwaitReceipt(now_ms + self._policy.waits.receipt_ms, "crashed", error)

    def _given_up(self, request: m.SmsRequest, entry: Entry, now_ms: int) -> Dead | None:
        if request.attempts >= self._policy.retry.attempts:
            return Dead(DeadReason.EXHAUSTED, "no_receipt", "no answer, and no receipt came in time", notify_ops=True)
        # A person's redrive has all the time again.
        begun_at_ms = request.requested_at_ms if request.redrives == 0 else entry.begun_at_ms or now_ms
        deadline_ms = self._policy.deadline_ms(request, begun_at_ms)
        if now_ms < deadline_ms:
            return None
        late_s = (now_ms - begun_at_ms) // 1000
        return Dead(DeadReason.EXPIRED, "expired", f"the provider did not take it within {late_s} s", notify_ops=True)

    def _cap(self, slot: Slot, request: m.SmsRequest, contact: m.Contact, now_ms: int) -> Deferred | None:
        if contact.organization_sms_per_hour is None or _is_exempt(request):
            return None
        # Each partition has its part of the cap, so that workers need not ask each other.
        parts, left_over = divmod(contact.organization_sms_per_hour, self._partitions)
        cap = max(1, parts + (slot.partition < left_over))
        free_at_ms = self._ledger.cap(slot, request.organization_id).free_at_ms(cap, now_ms)
        if free_at_ms <= now_ms:
            return None
        return Deferred(free_at_ms, "organization_cap", f"{contact.organization_sms_per_hour} SMS an hour are reached")


def _is_exempt(request: m.SmsRequest) -> bool:
    """An organization's cap holds back no critical message, nor what a person orders now."""
    return request.forced or request.severity is m.Severity.CRITICAL
