"""`sms-inbound` → each SMS from a person as the reply of everybody who has its number, without any database.

Whoever is on duty and answers STOP can no longer be paged by SMS: managers and operators are told.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import structlog

from domain.identity import derived_id
from domain.notification.managers import managers
from domain.notification.phone import masked
from domain.notification.replies import Stopped, understand
from schemas import messages as m
from schemas.headers import event_headers
from schemas.topics import SMS_DLQ, SMS_INBOUND, SMS_RECEIPTS
from streams.engine.decoding import decoded
from streams.engine.publish import Outgoing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.engine.consumer import Batch
    from streams.engine.interfaces import Clock, Entries, Publish
    from streams.notifications.page_emails import PageEmails

log = structlog.get_logger(__name__)


class Inbound:
    """Keeps the contacts by number; numbers change rarely."""

    def __init__(
        self,
        contacts: Entries[m.Contact],
        organizations: Entries[m.Organization],
        emails: PageEmails,
        publish: Publish,
        now_ms: Clock,
    ) -> None:
        self._contacts = contacts
        self._organizations = organizations
        self._emails = emails
        self._publish = publish
        self._now_ms = now_ms
        self._by_number: dict[str, list[m.Contact]] = {}
        self._version = -1

    async def handle(self, batch: Batch) -> None:
        messages, outgoing = decoded(batch, SMS_INBOUND, SMS_DLQ, self._now_ms())
        for _, inbound in messages:
            people = self._people(inbound.phone_e164)
            if not people:
                log.warning("reply.unknown_number", number=masked(inbound.phone_e164))
            stopped = isinstance(understand(inbound.text), Stopped)
            for contact in people:
                if inbound.via == "sms":
                    outgoing.append(_reply(inbound, contact.user_id))
                if stopped and contact.on_duty and not contact.sms_opted_out:
                    outgoing.extend(self._silent(inbound, contact))
        await self._publish(outgoing)

    def _people(self, number: str) -> list[m.Contact]:
        if self._version != self._contacts.version:
            self._version = self._contacts.version
            found: defaultdict[str, list[m.Contact]] = defaultdict(list)
            for contact in self._contacts.values():
                if contact.phone_e164 is not None:
                    found[contact.phone_e164].append(contact)
            self._by_number = dict(found)
        return self._by_number.get(number, [])

    def _silent(self, inbound: m.InboundSms, contact: m.Contact) -> Iterator[Outgoing]:
        log.warning("reply.stopped_on_duty", user=contact.user_id, organization=contact.organization_id)
        text = f"{contact.name} is on duty and answered STOP: no SMS reaches this person until they answer START."
        organization = self._organizations.get(contact.organization_id)
        fallback = None if organization is None else organization.fallback_user_id
        for user_id in managers(self._contacts.values(), contact, fallback):
            yield self._emails.mail(
                m.PageEmail(
                    request_id=derived_id("stop notice", inbound.event_id, contact.user_id, user_id),
                    organization_id=contact.organization_id,
                    user_id=user_id,
                    because=m.PageEmailCause.OPTED_OUT_ON_DUTY,
                    subject=f"{contact.name} gets no SMS any more, and is on duty",
                    text=text,
                    requested_at_ms=self._now_ms(),
                )
            )
        yield self._emails.tell(
            m.OperatorNotice(
                notice_id=derived_id("stop notice", inbound.event_id, contact.user_id),
                organization_id=contact.organization_id,
                because=m.PageEmailCause.OPTED_OUT_ON_DUTY.value,
                severity=m.Severity.WARNING,
                text=text,
                at_ms=self._now_ms(),
            )
        )


def _reply(inbound: m.InboundSms, user_id: str) -> Outgoing:
    reply = m.InboundReply(
        event_id=inbound.event_id,
        user_id=user_id,
        occurred_at_ms=inbound.occurred_at_ms,
        text=inbound.text,
    )
    headers = event_headers(f"{inbound.event_id}.{user_id}", "inbound")
    return Outgoing(SMS_RECEIPTS, user_id.encode(), m.encode(reply), headers)
