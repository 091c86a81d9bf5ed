"""Receipts and replies: what an accepted SMS becomes, and what people answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from domain.notification.answers import NoAnswer, Unanswered
from domain.notification.replies import ack_code
from domain.notification.request_ids import attempt_id
from domain.notification.request_state import RequestState
from schemas import messages as m
from streams.notifications.provider import ProviderStatus
from streams.notifications.sms_retries_to_sms import Retries
from streams.notifications.telnyx.client import webhook_address
from tests.streams.fakes import NOW_MS, FakeBatch
from tests.streams.notifications.sms_world import World, request, sms_policy

if TYPE_CHECKING:
    from streams.engine.consumer import Batch

pytestmark = pytest.mark.anyio

POLICY = sms_policy(receipts=True)
FINAL_WAIT_MS = 300_000


def receipt(status: str, error_code: str | None = None, *, attempt: int = 1, number: int = 1) -> m.DeliveryReceipt:
    return m.DeliveryReceipt(
        event_id=f"event-{status}",
        user_id="user-1",
        occurred_at_ms=NOW_MS,
        request_id=f"request-{number}",
        attempt_id=attempt_id(f"request-{number}", attempt),
        provider_message_id="message-1",
        status=status,
        error_code=error_code,
    )


def reply(text: str) -> m.InboundReply:
    return m.InboundReply(event_id="event-1", user_id="user-1", occurred_at_ms=NOW_MS, text=text)


async def sent_world() -> World:
    world = World(policy=POLICY)
    await world.handle(request())
    return world


async def test_a_delivered_sms_is_told_once_and_the_escalation_hears_of_it() -> None:
    world = await sent_world()
    await world.report(receipt("sent"), receipt("delivered"), receipt("delivered"), receipt("sent"))
    assert world.outcomes == ["sending", "sent", "delivered"]
    (heard,) = world.broker.decoded("escalations", m.PageDelivered)
    assert (heard.alert_id, heard.unit_id, heard.user_id, heard.level) == ("alert-1", "unit-1", "user-1", 1)


async def test_the_webhook_names_the_attempt() -> None:
    world = await sent_world()
    (sms,) = world.provider.got
    assert webhook_address("https://example.com", sms.ids) == (
        f"https://example.com/webhooks/telnyx?user=user-1&request=request-1&attempt={attempt_id('request-1', 1)}"
    )


async def test_a_failed_delivery_is_tried_again_escalates_at_once_and_frees_the_window() -> None:
    world = await sent_world()
    await world.report(receipt("delivery_failed", "40008"))
    assert world.outcomes[2:] == ["failed", "retry_scheduled"]
    assert len(world.broker.decoded("escalations", m.PageUndelivered)) == 1
    (retry,) = world.retries()
    assert retry.request.attempts == 1
    await world.handle(retry.request)
    assert len(world.provider.got) == 2


async def test_a_failed_delivery_that_cannot_be_mended_is_a_dead_letter() -> None:
    world = await sent_world()
    await world.report(receipt("delivery_failed", "40001"))
    assert world.outcomes[2:] == ["failed", "dead"]
    assert len(world.broker.decoded("escalations", m.PageUndelivered)) == 1
    assert world.state() is RequestState.CLOSED


async def test_a_receipt_proves_that_an_attempt_without_an_answer_arrived() -> None:
    world = World(Unanswered(NoAnswer.TIMEOUT), policy=POLICY)
    await world.handle(request())
    await world.report(receipt("sent"))
    (retry,) = world.retries()
    world.now_ms = retry.due_at_ms
    await world.handle(retry.request)
    assert world.outcomes == ["sending", "unknown", "retry_scheduled", "sent"]
    assert len(world.provider.got) == 1


async def test_a_final_receipt_of_an_attempt_without_an_answer_tells_both() -> None:
    world = World(Unanswered(NoAnswer.TIMEOUT), policy=POLICY)
    await world.handle(request())
    await world.report(receipt("delivered"))
    assert world.outcomes[-2:] == ["sent", "delivered"]


async def test_receipts_of_other_attempts_and_of_unknown_words_change_nothing() -> None:
    world = await sent_world()
    rows = dict(world.table.rows)
    await world.report(receipt("delivered", attempt=2), receipt("teleported"), receipt("delivered", number=9))
    assert world.table.rows == rows
    assert world.outcomes == ["sending", "sent"]


async def ask(world: World) -> None:
    """The timer for the final receipt fires."""
    due = m.ReceiptDue(request_id="request-1", user_id="user-1", attempt_id=attempt_id("request-1", 1))
    await world.stages.polls.take(cast("Batch", FakeBatch([])), due)
    await world.stages.polls.settled()


async def test_without_a_final_receipt_the_provider_is_asked() -> None:
    world = await sent_world()
    world.provider.known = ProviderStatus("delivered")
    await ask(world)
    assert world.outcomes == ["sending", "sent"]
    world.now_ms += FINAL_WAIT_MS
    await ask(world)
    assert world.outcomes == ["sending", "sent", "delivered"]


async def test_what_the_provider_cannot_say_stays_unconfirmed_and_escalates() -> None:
    world = await sent_world()
    world.provider.known = Unanswered(NoAnswer.TIMEOUT)
    for _ in range(4):
        world.now_ms += FINAL_WAIT_MS
        await ask(world)
    assert world.outcomes == ["sending", "sent", "unconfirmed"]
    (missed,) = world.broker.decoded("escalations", m.PageUndelivered)
    assert missed.because == "unconfirmed"


async def test_a_provider_that_does_not_answer_polls_holds_up_neither_retries_nor_the_users_lock() -> None:
    """Polls take up to ten seconds each, five at once."""
    world = await sent_world()
    world.now_ms += FINAL_WAIT_MS
    hangs = asyncio.Event()

    async def status(_: str) -> ProviderStatus:
        await hangs.wait()
        return ProviderStatus("delivered")

    world.provider.status = status  # type: ignore[method-assign, assignment]
    retry = m.SmsRetry(request=request(2), attempt=1, due_at_ms=world.now_ms, error_code="", error="")
    due = m.ReceiptDue(request_id="request-1", user_id="user-1", attempt_id=attempt_id("request-1", 1))
    async with asyncio.timeout(5):
        await world.stages.retries.handle(cast("Batch", FakeBatch([due, retry])))
    assert not world.ledger.lock("user-1").locked()
    assert any(b"request-2" in row for row in world.timer_table.rows.values())
    hangs.set()
    await world.stages.polls.settled()
    assert world.outcomes[-1] == "delivered"


async def test_what_is_overdue_for_a_user_with_a_message_under_way_comes_again_and_waits_for_nobody() -> None:
    world = await sent_world()
    world.now_ms += FINAL_WAIT_MS
    due = m.ReceiptDue(request_id="request-1", user_id="user-1", attempt_id=attempt_id("request-1", 1))
    async with world.ledger.lock("user-1"), asyncio.timeout(5):
        page = m.PageOverdue(request=request(2))
        await world.stages.retries.handle(cast("Batch", FakeBatch([due, page])))
    again = [msgspec.msgpack.decode(row) for row in world.timer_table.rows.values()]
    assert {row[1] for row in again if b"receipt_due" in row[4] or b"page_overdue" in row[4]} == {world.now_ms + 1_000}


async def test_an_overdue_receipt_comes_back_as_a_question() -> None:
    world = await sent_world()
    asked: list[m.ReceiptDue] = []

    class Polls:
        async def take(self, batch: object, due: m.ReceiptDue) -> None:
            asked.append(due)

    (timer,) = world.timer_table.rows.values()
    value = msgspec.msgpack.decode(timer)[4]
    retries = Retries(
        world.stages.retries._timers, Polls(), world.stages.second_way, lambda _: False, world.broker.publish, world.now
    )
    await retries.handle(cast("Batch", FakeBatch([value])))
    assert [due.request_id for due in asked] == ["request-1"]


@pytest.mark.parametrize("text", [f"ack {ack_code('alert-1', 'user-1')}", "OK", ack_code("alert-1", "user-1")])
async def test_an_answer_acknowledges_the_alert(text: str) -> None:
    world = await sent_world()
    await world.report(reply(text))
    (command,) = world.broker.decoded("alert-commands", m.Acknowledge)
    assert (command.alert_id, command.unit_id, command.user_id, command.via) == ("alert-1", "unit-1", "user-1", "sms")


@pytest.mark.parametrize("text", ["ack 0000", "STOP", "what?", "HELP"])
async def test_other_words_acknowledge_nothing(text: str) -> None:
    world = await sent_world()
    await world.report(reply(text))
    assert world.broker.decoded("alert-commands", m.Acknowledge) == []


async def test_an_alert_that_is_over_is_not_acknowledged() -> None:
    world = await sent_world()
    world.closed.closed["alert-1"] = "resolved"
    await world.report(reply("ok"))
    assert world.broker.values("alert-commands") == []


async def test_a_receipt_that_cannot_be_read_is_a_dead_letter() -> None:
    world = await sent_world()
    await world.report(b"{", receipt("delivered"))
    assert len(world.broker.decoded("sms-dlq", m.UnreadableRecord)) == 1
    assert world.outcomes[-1] == "delivered"


async def test_an_acknowledgement_is_confirmed_by_an_sms_that_no_window_holds_back() -> None:
    world = await sent_world()
    await world.report(reply("ok"))
    await world.report(reply("ok"))
    requests = world.broker.decoded("sms-critical", m.SmsRequest)
    assert {request.request_id for request in requests} == {requests[0].request_id}
    assert requests[0].confirms
    world.closed.closed["alert-1"] = "acknowledged"
    await world.handle(requests[0])
    assert world.texts[-1].startswith("ACKNOWLEDGED: unit-1")
    # It hides no breach that comes after it.
    await world.handle(request(2, kind=m.AlertKind.TEMPERATURE_LOW))
    assert world.texts[-1] == "text 2"


async def test_a_confirmation_names_a_unit_as_people_know_it() -> None:
    world = World(policy=POLICY)
    await world.handle(request(unit_id="org-1/unit-1"))
    await world.report(reply("ok"))
    (confirmation,) = world.broker.decoded("sms-critical", m.SmsRequest)
    assert confirmation.text.startswith("ACKNOWLEDGED: unit-1.")


async def test_the_number_that_the_provider_refused_is_told_with_the_opt_out() -> None:
    """Its user may have another one when that is recorded."""
    world = await sent_world()
    await world.report(receipt("delivery_failed", "40300"))
    opted_out = msgspec.json.decode(world.broker.values("sms-outcomes")[-1], type=m.SmsOptedOut)
    assert (opted_out.at_the_provider, opted_out.number_told) == (True, True)
    (stop,) = world.broker.decoded("sms-inbound", m.InboundSms)
    assert (stop.phone_e164, stop.text, stop.via) == ("+12025550101", "STOP", "provider")


@pytest.mark.parametrize(("text", "meaning"), [("ok", "acknowledged"), ("on my way", "not_understood")])
async def test_a_reply_is_recorded_with_the_alert(text: str, meaning: str) -> None:
    world = await sent_world()
    await world.report(reply(text))
    raw = [value for value in world.broker.values("escalations") if b"page_replied" in value]
    (event,) = [msgspec.json.decode(value, type=m.PageReplied) for value in raw]
    assert (event.alert_id, event.user_id, event.meaning, event.text) == ("alert-1", "user-1", meaning, text)
