"""Pages as e-mails and notices to operators, as records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.identity import derived_id
from domain.notification import page_mails
from schemas import messages as m
from schemas.headers import event_headers
from schemas.topics import OPERATOR_NOTICES, PAGE_EMAILS
from streams.engine.publish import Outgoing

if TYPE_CHECKING:
    from streams.engine.interfaces import Clock


class PageEmails:
    """Ids are made of the SMS, so that a re-run makes the same mail. `wait_s` is how long an SMS may take."""

    def __init__(self, now_ms: Clock, wait_s: float) -> None:
        self._now_ms = now_ms
        self.wait_s = wait_s

    def beside(self, request: m.SmsRequest, user_id: str, because: m.PageEmailCause) -> Outgoing:
        """The page of `request` by e-mail to `user_id`: its own user, or whoever reads it instead."""
        return self.mail(
            m.PageEmail(
                request_id=derived_id("page email", request.request_id, request.redrives, user_id),
                organization_id=request.organization_id,
                user_id=user_id,
                because=because,
                subject=page_mails.subject(request, because),
                text=page_mails.text(request, because, self.wait_s),
                alert_id=request.alert_id,
                unit_id=request.unit_id,
                severity=request.severity,
                sms_request_id=request.request_id,
                requested_at_ms=self._now_ms(),
            )
        )

    def mail(self, page: m.PageEmail) -> Outgoing:
        headers = event_headers(page.request_id, "page_email")
        return Outgoing(PAGE_EMAILS, page.user_id.encode(), m.encode(page), headers)

    def notice(self, request: m.SmsRequest, because: str, text: str) -> Outgoing:
        """What operators must know of an SMS."""
        return self.tell(
            m.OperatorNotice(
                notice_id=derived_id("operator notice", request.request_id, request.redrives, because),
                organization_id=request.organization_id,
                because=because,
                alert_id=request.alert_id,
                unit_id=request.unit_id,
                severity=request.severity,
                text=text,
                at_ms=self._now_ms(),
            )
        )

    def tell(self, notice: m.OperatorNotice) -> Outgoing:
        headers = event_headers(notice.notice_id, "operator_notice")
        return Outgoing(OPERATOR_NOTICES, notice.organization_id.encode(), m.encode(notice), headers)
