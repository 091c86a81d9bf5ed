"""What the rate windows of a user say about a request, which others its SMS names too, and how its text reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from domain.notification.decisions import Deferred, HeldBack, RateLimited
from domain.notification.rate_limit import Occupied
from domain.notification.replies import ack_code
from domain.notification.sms_text import Line, at_time, combined_text
from schemas import messages as m
from schemas.identity import plain

if TYPE_CHECKING:
    from streams.engine.interfaces import Slot
    from streams.notifications.closed_alerts import Closed
    from streams.notifications.ledger import Entry, Ledger
    from streams.notifications.sms_policy import SmsPolicy

_decode_request = msgspec.json.Decoder(m.SmsRequest).decode


def counts_for_window(request: m.SmsRequest) -> bool:
    """Only first SMS about an alert use up a window: no reminder, all-clear or confirmation hides a breach."""
    return not is_aside(request) and not is_reminder(request)


def is_aside(request: m.SmsRequest) -> bool:
    """An SMS that pages nobody: an all-clear, or the answer to an acknowledgement."""
    return request.all_clear or request.confirms


def is_reminder(request: m.SmsRequest) -> bool:
    return (request.level > 1 or request.round > 0) and not request.first


class Windows:
    def __init__(self, ledger: Ledger, closed: Closed, policy: SmsPolicy) -> None:
        self._ledger = ledger
        self._closed = closed
        self._policy = policy

    def limit(self, slot: Slot, request: m.SmsRequest, now_ms: int) -> RateLimited | Deferred | HeldBack | None:
        """Why the request may not go out now; None when it may."""
        if not self._policy.window_ms or is_aside(request) or request.forced:
            return None
        limited = self._limited(slot, request, now_ms)
        if limited is None or isinstance(limited, Deferred):
            return limited
        if is_reminder(request):
            if request.severity is m.Severity.CRITICAL and not self._policy.strict:
                return None
            return Deferred(limited.until_at_ms, "rate_limited", f"until the window of {limited.by_request_id} is over")
        return limited if self._policy.strict else self._hold(slot, request, limited, now_ms)

    def _hold(self, slot: Slot, request: m.SmsRequest, limited: RateLimited, now_ms: int) -> HeldBack | None:
        window, policy = self._ledger.window(slot, request), self._policy
        if window.holds(request.request_id):
            if now_ms >= window.due_at_ms:
                return None
            return HeldBack(window.due_at_ms, limited.by_request_id, gathered=True)
        if request.severity is not m.Severity.CRITICAL:
            return HeldBack(limited.until_at_ms, limited.by_request_id, gathered=False)
        free_at_ms = window.cap_free_at_ms(policy.most_critical, now_ms, policy.window_ms)
        if free_at_ms <= now_ms:
            return HeldBack(now_ms + policy.gather_ms, limited.by_request_id, gathered=True)
        return HeldBack(free_at_ms, limited.by_request_id, gathered=False)

    def _limited(self, slot: Slot, request: m.SmsRequest, now_ms: int) -> RateLimited | Deferred | None:
        """Which SMS limits the request: one of its severity or of a higher one; with `strict` any."""
        for severity in m.SEVERITIES:
            if severity.rank > request.severity.rank and not self._policy.strict:
                continue
            window = self._ledger.window(slot, request, severity)
            match window.slot(request.request_id, now_ms, self._policy.window_ms):
                case RateLimited() as limited:
                    return limited
                case Occupied(until_at_ms, by_request_id) if counts_for_window(request):
                    return Deferred(until_at_ms, "occupied", f"{by_request_id} is on its way to the same person")
        return None

    def text(self, request: m.SmsRequest, carried: tuple[m.SmsRequest, ...], now_ms: int) -> str:
        over = self._closed.why_closed(request.alert_id, request.severity, now_ms) == "resolved"
        if carried or (over and counts_for_window(request)):
            return combined_text(request.severity, [self._line(one, now_ms) for one in (request, *carried)])
        late = now_ms - request.requested_at_ms >= self._policy.late_ms
        return at_time(request.text, request.breach_at_ms) if late and counts_for_window(request) else request.text

    def _line(self, request: m.SmsRequest, now_ms: int) -> Line:
        over = self._closed.why_closed(request.alert_id, request.severity, now_ms) == "resolved"
        return Line(request.label or plain(request.unit_id), ack_code(request.alert_id, request.user_id), over)

    def carried(self, slot: Slot, request: m.SmsRequest, entry: Entry, now_ms: int) -> tuple[m.SmsRequest, ...]:
        """The requests that the window held back and that this SMS names too, but for acknowledged alerts."""
        if self._policy.strict or not counts_for_window(request):
            return ()
        raw = (held.request for held in self._ledger.window(slot, request).held)
        found = [one for one in map(_decode_request, (*entry.carried, *raw)) if one.request_id != request.request_id]
        wanted = (None, "resolved")
        return tuple(one for one in found if self._closed.why_closed(one.alert_id, one.severity, now_ms) in wanted)
