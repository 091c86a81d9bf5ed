"""What people answer by SMS: an acknowledgement, which is confirmed. The recorder keeps the list of opt-outs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import structlog

from domain.notification.replies import Acknowledged, acknowledged, name_of, understand
from domain.notification.request_ids import confirmation_request_id
from domain.notification.sms_text import confirmation_text
from schemas import messages as m
from schemas.headers import event_headers
from schemas.identity import plain
from schemas.topics import SMS_LANES
from streams.engine.publish import Outgoing

if TYPE_CHECKING:
    from streams.engine.interfaces import Clock, Publish, Slot
    from streams.notifications.closed_alerts import Closed
    from streams.notifications.ledger import Ledger, NotifiedAlert
    from streams.notifications.outcomes import Outcomes

log = structlog.get_logger(__name__)


class Replies:
    """The caller holds the user's lock. `seen` counts replies by what they mean."""

    def __init__(self, *, publish: Publish, outcomes: Outcomes, ledger: Ledger, closed: Closed, now_ms: Clock) -> None:
        self._publish = publish
        self._outcomes = outcomes
        self._ledger = ledger
        self._closed = closed
        self._now_ms = now_ms
        self.seen: Counter[str] = Counter()

    async def take(self, slot: Slot, reply: m.InboundReply) -> None:
        meaning = understand(reply.text)
        self.seen[name_of(meaning)] += 1
        now_ms = self._now_ms()
        notified = {
            alert.alert_id: alert
            for alert in self._ledger.notified(slot, reply.user_id, now_ms)
            if self._closed.why_closed(alert.alert_id, alert.severity, now_ms) in (None, "silenced")
        }
        meant = acknowledged(meaning, reply.user_id, notified) if isinstance(meaning, Acknowledged) else ()
        about = meant or tuple(notified)
        outgoing = [self._outcomes.replied(notified[alert_id], reply, name_of(meaning), now_ms) for alert_id in about]
        if isinstance(meaning, Acknowledged) and not meant:
            log.warning("reply.matches_no_alert", user=reply.user_id, code=meaning.code, open=len(notified))
        outgoing += [
            self._outcomes.acknowledged(notified[alert_id], reply.user_id, reply.event_id, now_ms) for alert_id in meant
        ]
        outgoing += [_confirmation(notified[alert_id], reply, now_ms) for alert_id in meant]
        await self._publish(outgoing)
        if meant:
            log.info("reply.acknowledged", user=reply.user_id, alerts=list(meant))


def _confirmation(alert: NotifiedAlert, reply: m.InboundReply, now_ms: int) -> Outgoing:
    request = m.SmsRequest(
        request_id=confirmation_request_id(reply.event_id, alert.alert_id, reply.user_id),
        alert_id=alert.alert_id,
        unit_id=alert.unit_id,
        organization_id=alert.organization_id,
        user_id=reply.user_id,
        kind=alert.kind,
        severity=alert.severity,
        text=confirmation_text(alert.label or plain(alert.unit_id)),
        confirms=True,
        breach_at_ms=now_ms,
        requested_at_ms=now_ms,
    )
    headers = event_headers(request.request_id, "sms")
    return Outgoing(SMS_LANES[alert.severity], reply.user_id.encode(), m.encode(request), headers)
