"""Nobody is left to reach about a critical alert: the organization's fallback contact is paged, operators are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.identity import derived_id
from schemas import messages as m
from schemas.headers import event_headers
from schemas.topics import ESCALATIONS
from streams.engine.publish import Outgoing

if TYPE_CHECKING:
    from domain.notification.escalation import Ended, Escalation
    from streams.engine.interfaces import Clock, Entries
    from streams.notifications.alert_texts import AlertTexts, Breach
    from streams.notifications.page_emails import PageEmails


class Fallback:
    """`user_of` names the contact that an organization chose; it is paged on duty or not."""

    def __init__(
        self, texts: AlertTexts, emails: PageEmails, organizations: Entries[m.Organization], now_ms: Clock
    ) -> None:
        self._texts = texts
        self._emails = emails
        self._organizations = organizations
        self._now_ms = now_ms

    def user_of(self, organization_id: str) -> str | None:
        organization = self._organizations.get(organization_id)
        return None if organization is None else organization.fallback_user_id

    def asked(self, alert: Breach, ended: Ended, escalation: Escalation) -> tuple[list[Outgoing], tuple[str, ...]]:
        """The records, and who is paged by them: nobody where the alert is not critical."""
        if alert.severity is not m.Severity.CRITICAL:
            return [], ()
        user_id = self.user_of(alert.organization_id)
        level = escalation.level.number + 1
        request = self._texts.request(alert, user_id or "nobody", level, escalation.round)
        told = self._emails.tell(
            m.OperatorNotice(
                notice_id=derived_id("operator notice", alert.alert_id, ended.because, escalation.round),
                organization_id=alert.organization_id,
                because=ended.because,
                alert_id=alert.alert_id,
                unit_id=alert.unit_id,
                severity=alert.severity,
                text=f"{_WORDS.get(ended.because, ended.because)} {request.text}",
                at_ms=self._now_ms(),
            )
        )
        records = [self._event(alert, user_id, ended, level, escalation.round), told]
        if user_id is None:
            return records, ()
        mail = self._emails.beside(request, user_id, m.PageEmailCause.NOBODY_LEFT)
        return [self._texts.outgoing(request), mail, *records], (user_id,)

    def _event(self, alert: Breach, user_id: str | None, ended: Ended, level: int, round_: int) -> Outgoing:
        event = m.FallbackAsked(
            alert_id=alert.alert_id,
            unit_id=alert.unit_id,
            organization_id=alert.organization_id,
            level=level,
            at_ms=self._now_ms(),
            user_id=user_id,
            because=ended.because,
        )
        headers = event_headers(f"{alert.alert_id}.{level}.{ended.because}.{round_}.fallback", "fallback_asked")
        return Outgoing(ESCALATIONS, alert.unit_id.encode(), m.encode(event), headers)


_WORDS: dict[str, str] = {
    "nobody_on_duty": "Nobody is on duty.",
    "chain_ended": "Nobody on duty has answered.",
}
