"""A critical page that the SMS provider does not take goes by e-mail as well; with nobody left, to the fallback."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from domain.notification.answers import NoAnswer, Refused, Unanswered
from domain.notification.circuit_breaker import Cause, CircuitBreaker, Opened
from domain.notification.error_class import ErrorClass
from schemas import messages as m
from schemas.topics import ESCALATIONS
from tests.streams.fakes import FakeBatch
from tests.streams.notifications.escalation_world import (
    AGAIN_MS,
    GOING_ON,
    LAPSE_MS,
    LOOK_AGAIN_MS,
    WAIT_MS,
    acknowledge,
    contact,
    escalated,
    triggered,
)
from tests.streams.notifications.escalation_world import World as ChainWorld
from tests.streams.notifications.sms_world import ADA, ORGANIZATION, World, request

if TYPE_CHECKING:
    from streams.engine.consumer import Batch

pytestmark = pytest.mark.anyio

MAILED_ADA = msgspec.structs.replace(ADA, email="ada@example.com")
THROTTLED = Refused(ErrorClass.THROTTLED, "429", "slow down", retry_after_s=600)
DOWN = Unanswered(NoAnswer.NOT_CONNECTED)
SECOND_WAY_MS = 60_000


def mails(world: World | ChainWorld) -> list[m.PageEmail]:
    return world.broker.decoded("page-emails", m.PageEmail)


def overdue(world: World) -> list[m.PageOverdue]:
    timers = [msgspec.msgpack.decode(raw)[4] for raw in world.timer_table.rows.values()]
    return [msgspec.json.decode(value, type=m.PageOverdue) for value in timers if b"page_overdue" in value]


async def fire(world: World) -> None:
    await world.stages.retries.handle(cast("Batch", FakeBatch(overdue(world))))


async def test_a_deferred_critical_page_goes_by_e_mail_after_a_minute_and_only_once() -> None:
    world = World(THROTTLED, people=[MAILED_ADA])
    await world.handle(request())
    assert mails(world) == []
    world.now_ms += SECOND_WAY_MS
    await fire(world)
    await fire(world)
    (mail,) = mails(world)
    assert (mail.user_id, mail.because) == ("user-1", m.PageEmailCause.SMS_NOT_ACCEPTED)
    assert "text 1" in mail.text
    assert "60 seconds" in mail.text


async def test_a_page_that_waits_for_its_turn_behind_an_open_breaker_goes_by_e_mail() -> None:
    world = World(people=[MAILED_ADA])
    far_ms = world.now_ms + 3_600_000
    world.limiter._breaker = CircuitBreaker(
        5,
        Opened(cause=Cause.PROVIDER_DOWN, code="503", error="", since_ms=world.now_ms, probe_at_ms=far_ms),
    )
    batch = FakeBatch([request()])
    async with world.sending():
        handling = asyncio.create_task(world.feed(batch))
        await asyncio.sleep(0)
        await world.stages.second_way.look()
        assert mails(world) == []
        world.now_ms += SECOND_WAY_MS
        await world.stages.second_way.look()
        await world.stages.second_way.look()
        assert len(mails(world)) == 1
        batch.ending = True
        batch.ours = False
        await asyncio.gather(handling, return_exceptions=True)


@pytest.mark.parametrize("why", ["acknowledged", "resolved", "silenced"])
async def test_no_mail_about_an_alert_that_nobody_need_hear_of(why: str) -> None:
    world = World(THROTTLED, people=[MAILED_ADA])
    await world.handle(request())
    world.closed.closed["alert-1"] = why
    world.now_ms += SECOND_WAY_MS
    await fire(world)
    assert mails(world) == []


async def test_an_accepted_page_a_warning_and_an_all_clear_go_by_no_mail() -> None:
    world = World(DOWN, DOWN, people=[MAILED_ADA])
    warning = request(2, severity=m.Severity.WARNING)
    await world.handle(warning)
    world.limiter._breaker = CircuitBreaker()
    await world.handle(request(3, all_clear=True))
    world.limiter._breaker = CircuitBreaker()
    await world.handle(request(1))
    world.now_ms += SECOND_WAY_MS
    await world.stages.second_way.look()
    assert overdue(world) == []
    assert mails(world) == []


async def test_a_page_that_cannot_be_texted_goes_by_e_mail_at_once() -> None:
    world = World(people=[msgspec.structs.replace(MAILED_ADA, phone_e164=None)])
    await world.handle(request())
    (mail,) = mails(world)
    assert mail.because is m.PageEmailCause.SMS_IMPOSSIBLE


async def test_without_an_address_the_fallback_contact_and_the_operators_hear_of_it() -> None:
    fallback = msgspec.structs.replace(ORGANIZATION, fallback_user_id="boss")
    world = World(THROTTLED, people=[ADA], organization=fallback)
    await world.handle(request())
    world.now_ms += SECOND_WAY_MS
    await fire(world)
    (mail,) = mails(world)
    assert (mail.user_id, mail.because) == ("boss", m.PageEmailCause.NOBODY_LEFT)
    (notice,) = world.broker.decoded("operator-notices", m.OperatorNotice)
    assert notice.alert_id == "alert-1"


async def test_nobody_on_duty_pages_the_fallback_contact_by_sms_and_by_e_mail() -> None:
    world = ChainWorld(contact("ada", on_duty=False), times=GOING_ON, fallback_user_id="boss")
    await world.handle(triggered())
    assert [sms.user_id for sms in world.broker.decoded("sms-critical", m.SmsRequest)] == ["boss"]
    assert [mail.user_id for mail in mails(world)] == ["boss"]
    (notice,) = world.broker.decoded("operator-notices", m.OperatorNotice)
    assert notice.because == "nobody_on_duty"


async def test_the_chains_end_pages_the_fallback_contact_once_a_round() -> None:
    world = ChainWorld(contact("ada"), times=GOING_ON, fallback_user_id="boss")
    await world.handle(triggered())
    await world.later(WAIT_MS)
    assert mails(world) == []
    await world.later(WAIT_MS)
    asked = [event for event in world.broker.values("escalations") if b"fallback_asked" in event]
    assert len(asked) == 1
    assert [mail.user_id for mail in mails(world)] == ["boss"]
    assert [sms.user_id for sms in world.broker.decoded("sms-critical", m.SmsRequest)] == ["ada", "ada", "boss"]


async def test_each_round_has_its_own_end_and_fallback_in_the_timeline() -> None:
    world = ChainWorld(contact("ada"), times=GOING_ON, fallback_user_id="boss")
    await world.handle(triggered())
    for after_ms in (WAIT_MS, WAIT_MS, AGAIN_MS, WAIT_MS, WAIT_MS):
        await world.later(after_ms)
    records = [record for record in world.broker.published if record.topic is ESCALATIONS]
    ids = [dict(record.headers)["id"] for record in records]
    assert len(ids) == 8
    assert len(set(ids)) == 8, ids


async def test_an_acknowledgement_that_lapses_with_nobody_on_duty_pages_the_fallback_contact() -> None:
    world = ChainWorld(contact("ada"), times=GOING_ON, fallback_user_id="boss")
    await world.handle(triggered())
    await world.handle(acknowledge())
    world.staff(contact("ada", on_duty=False))
    await world.later(LAPSE_MS)
    await world.later(LOOK_AGAIN_MS)
    assert [request.user_id for request in world.requests()] == ["ada", "boss"]
    world.staff(contact("eve"))
    await world.later(LOOK_AGAIN_MS)
    assert [request.user_id for request in world.requests()] == ["ada", "boss", "eve"]


async def test_a_rise_to_critical_that_finds_nobody_on_duty_pages_the_fallback_contact_at_once() -> None:
    world = ChainWorld(contact("ada"), times=GOING_ON, fallback_user_id="boss")
    await world.handle(triggered(m.Severity.WARNING))
    await world.later()
    await world.later()
    world.staff(contact("ada", on_duty=False))
    await world.handle(escalated(former=m.Severity.WARNING))
    await world.later(0)
    assert [request.user_id for request in world.requests()] == ["boss"]


async def test_a_warning_asks_no_fallback() -> None:
    world = ChainWorld(contact("ada", on_duty=False), fallback_user_id="boss")
    await world.handle(triggered(m.Severity.WARNING))
    assert mails(world) == []
    assert world.broker.values("operator-notices") == []
