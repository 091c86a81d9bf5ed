"""A page by e-mail: it needs no digest, outlives an ill provider, and is sent once."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, cast

import msgspec

from domain.notification.answers import NoAnswer, Refused, Unanswered
from domain.notification.error_class import ErrorClass
from schemas import messages as m
from streams.digests.mail.page_conclusion import PageConclusion
from streams.digests.pages_to_email import PagesToEmail
from streams.digests.report.rendered_digest import Mailbox
from streams.engine.timers import Timers
from tests.streams.digests.mail_world import ANN, POLICY, World
from tests.streams.fakes import NOW_MS, FakeBatch, FakeReference, FakeTable

if TYPE_CHECKING:
    from domain.notification.answers import Answer
    from streams.engine.consumer import Batch

DEADLINE_MS = 4 * 3_600_000


def page(**changes: object) -> m.PageEmail:
    made = m.PageEmail(
        request_id="page-1",
        organization_id="org-1",
        user_id="ann",
        because=m.PageEmailCause.SMS_NOT_ACCEPTED,
        subject="CRITICAL: Vaccines 9.1 C (by e-mail: no SMS so far)",
        text="CRITICAL Vaccines <9.1 C\n\nThis page comes by e-mail as well.",
        alert_id="alert-1",
        unit_id="unit-1",
        requested_at_ms=NOW_MS,
    )
    return msgspec.structs.replace(made, **changes)


class Pages:
    def __init__(self, *answers: Answer, contact: m.Contact = ANN) -> None:
        self.world = World(*answers)
        self.timers = FakeTable()
        world = self.world
        conclusion = PageConclusion(
            ledger=world.ledger,
            timers=Timers(self.timers, world.broker.publish, world.now),
            publish=world.broker.publish,
            now_ms=world.now,
        )
        self.flow = PagesToEmail(
            provider=world.provider,
            pause=world.pause,
            contacts=FakeReference(ann=contact),
            sender=Mailbox("pages@freshtrack.example.com", "FreshTrack"),
            ledger=world.ledger,
            conclusion=conclusion,
            publish=world.broker.publish,
            policy=POLICY,
            deadline_ms=DEADLINE_MS,
            now_ms=world.now,
            rng=random.Random(1),
        )

    def send(self, *pages: object) -> None:
        asyncio.run(self.flow.handle(cast("Batch", FakeBatch(pages, topic="page-emails"))))

    def outcomes(self) -> list[m.PageMailOutcome]:
        decode: msgspec.json.Decoder[m.PageMailOutcome] = msgspec.json.Decoder(m.PageMailOutcome)
        return [decode.decode(value) for value in self.world.broker.values("email-outcomes")]

    def waiting(self) -> list[m.PageEmail]:
        return [
            msgspec.json.decode(msgspec.msgpack.decode(raw)[4], type=m.PageEmail) for raw in self.timers.rows.values()
        ]


def test_a_page_is_mailed_once_with_the_words_of_its_sms() -> None:
    pages = Pages()
    pages.send(page(), page())
    pages.send(page())
    (mail,) = pages.world.provider.got
    assert mail.subject == "CRITICAL: Vaccines 9.1 C (by e-mail: no SMS so far)"
    assert "&lt;9.1 C" in mail.html
    assert "List-Unsubscribe" not in mail.headers()
    assert [type(one) for one in pages.outcomes()] == [m.PageEmailSent]


def test_an_ill_mail_provider_uses_up_no_attempt_and_the_page_comes_again() -> None:
    pages = Pages(Unanswered(NoAnswer.NOT_CONNECTED))
    pages.send(page())
    (again,) = pages.waiting()
    assert (again.attempts, again.provider_failures) == (0, 1)
    pages.world.now_ms += 60_000
    pages.send(again)
    assert [type(one) for one in pages.outcomes()] == [m.PageEmailFailed, m.PageEmailSent]


def test_a_page_is_given_up_at_its_deadline() -> None:
    pages = Pages()
    pages.world.now_ms += DEADLINE_MS
    pages.send(page())
    assert pages.world.provider.got == []
    (dead,) = pages.outcomes()
    assert isinstance(dead, m.PageEmailDead)
    assert dead.reason == "expired"


def test_a_contact_without_an_address_is_recorded_as_the_reason() -> None:
    pages = Pages(contact=msgspec.structs.replace(ANN, email=None))
    pages.send(page())
    (dead,) = pages.outcomes()
    assert isinstance(dead, m.PageEmailDead)
    assert dead.reason == "no_address"


def test_a_refused_address_is_not_tried_again() -> None:
    pages = Pages(Refused(ErrorClass.RECIPIENT, "smtp-550", "no such user"))
    pages.send(page())
    assert [type(one) for one in pages.outcomes()] == [m.PageEmailDead]
    assert pages.waiting() == []
