"""What people answer by SMS: an acknowledgement. The opt-out words are the api's, which keeps the list."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import structlog

from domain.notification.replies import Acknowledged, acknowledged, name_of, understand

if TYPE_CHECKING:
    from schemas import messages as m
    from streams.engine.interfaces import Clock, Publish, Slot
    from streams.notifications.closed_alerts import Closed
    from streams.notifications.ledger import Ledger
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
        if not isinstance(meaning, Acknowledged):
            return
        now_ms = self._now_ms()
        notified = {
            alert.alert_id: alert
            for alert in self._ledger.notified(slot, reply.user_id, now_ms)
            if self._closed.why_closed(alert.alert_id, alert.severity, now_ms) in (None, "silenced")
        }
        meant = acknowledged(meaning, reply.user_id, notified)
        if not meant:
            log.warning("reply.matches_no_alert", user=reply.user_id, code=meaning.code, open=len(notified))
            return
        await self._publish(
            [
                self._outcomes.acknowledged(notified[alert_id], reply.user_id, reply.event_id, now_ms)
                for alert_id in meant
            ]
        )
        log.info("reply.acknowledged", user=reply.user_id, alerts=list(meant))
