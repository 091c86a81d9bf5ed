"""An SMS from somebody's number is the reply of everybody who has that number, without any database."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from schemas import messages as m
from streams.notifications.inbound_to_replies import Inbound
from streams.notifications.page_emails import PageEmails
from tests.streams.fakes import NOW_MS, FakeBatch, FakeBroker, FakeReference
from tests.streams.notifications.sms_world import ADA, BEN, ORGANIZATION

if TYPE_CHECKING:
    from streams.engine.consumer import Batch

pytestmark = pytest.mark.anyio

BOSS = msgspec.structs.replace(BEN, user_id="boss", phone_e164="+12025550103", escalation_level=3, on_duty=False)


class World:
    def __init__(self, *people: m.Contact, organization: m.Organization = ORGANIZATION) -> None:
        self.broker = FakeBroker()
        self.contacts = FakeReference(**{contact.user_id: contact for contact in people})
        organizations, emails = FakeReference(org_1=organization), PageEmails(lambda: NOW_MS, 60.0)
        self.flow = Inbound(self.contacts, organizations, emails, self.broker.publish, lambda: NOW_MS)

    async def handle(self, text: str, number: str = "+12025550101") -> None:
        sms = m.InboundSms(event_id="event-1", phone_e164=number, occurred_at_ms=NOW_MS - 5, text=text)
        await self.flow.handle(cast("Batch", FakeBatch([sms], topic="sms-inbound")))

    def replies(self) -> list[m.InboundReply]:
        return self.broker.decoded("sms-receipts", m.InboundReply)

    def mails(self) -> list[str]:
        return [mail.user_id for mail in self.broker.decoded("page-emails", m.PageEmail)]


async def test_everybody_with_the_number_has_answered_at_the_providers_time() -> None:
    world = World(ADA, BEN, msgspec.structs.replace(BEN, user_id="twin", phone_e164=ADA.phone_e164))
    await world.handle("ack 4821")
    assert [(reply.user_id, reply.text, reply.occurred_at_ms) for reply in world.replies()] == [
        ("user-1", "ack 4821", NOW_MS - 5),
        ("twin", "ack 4821", NOW_MS - 5),
    ]
    assert world.mails() == []


async def test_the_new_number_counts_as_soon_as_a_contact_has_it() -> None:
    world = World(ADA)
    await world.handle("ack 4821", "+12025550109")
    assert world.replies() == []
    world.contacts._entries["user-1"] = msgspec.structs.replace(ADA, phone_e164="+12025550109")
    world.contacts.version += 1
    await world.handle("ack 4821", "+12025550109")
    await world.handle("ack 4821", "+12025550101")
    assert [reply.user_id for reply in world.replies()] == ["user-1"]


async def test_managers_and_operators_hear_when_somebody_on_duty_answers_stop() -> None:
    world = World(ADA, BEN, BOSS)
    await world.handle("Stop.")
    assert world.mails() == ["boss"]
    (notice,) = world.broker.decoded("operator-notices", m.OperatorNotice)
    assert "Ada is on duty and answered STOP" in notice.text
    named = msgspec.structs.replace(ORGANIZATION, fallback_user_id="user-2")
    world = World(ADA, BEN, BOSS, organization=named)
    await world.handle("STOP")
    assert world.mails() == ["user-2"]


async def test_nobody_hears_of_a_stop_off_duty_or_of_a_second_one() -> None:
    for ada in (msgspec.structs.replace(ADA, on_duty=False), msgspec.structs.replace(ADA, sms_opted_out=True)):
        world = World(ada, BOSS)
        await world.handle("STOP")
        assert world.mails() == []


async def test_what_cannot_be_read_is_a_dead_letter() -> None:
    world = World(ADA)
    await world.flow.handle(cast("Batch", FakeBatch([b"{"], topic="sms-inbound")))
    assert len(world.broker.decoded("sms-dlq", m.UnreadableRecord)) == 1
