"""Dispatch with a scripted provider: what it decides, writes down and publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from domain.notification.request_state import Standing
from domain.notification.sms_answers import Answer, Refused, Silence, Unanswered
from schemas import messages as m
from streams.engine.consumer import Stale
from streams.notifications.plans import SmsPolicy
from streams.notifications.rate_limiter import Limits
from tests.streams.fakes import NOW_MS, FakeBatch
from tests.streams.notifications.sms_world import ADA, Provider, World, request

if TYPE_CHECKING:
    from streams.notifications.telnyx.client import Sms

pytestmark = pytest.mark.anyio

NO_WINDOW = SmsPolicy(window_ms=0)
WITH_RECEIPTS = SmsPolicy(receipts=True)
WINDOW_MS = 900_000


async def test_an_sms_is_announced_then_sent_then_reported() -> None:
    world = World()
    await world.handle(request())
    assert [(sms.to_e164, sms.text) for sms in world.provider.got] == [("+12025550101", "text 1")]
    assert world.outcomes == ["sending", "sent"]
    assert world.standing() is Standing.SENT


async def test_a_request_that_was_sent_is_not_sent_again() -> None:
    world = World()
    await world.handle(request())
    await world.handle(request())
    assert len(world.provider.got) == 1


async def test_a_request_that_a_person_sends_again_is_sent_again() -> None:
    world = World(policy=NO_WINDOW)
    await world.handle(request())
    await world.handle(request(redrives=1))
    await world.handle(request(), request(redrives=1))
    assert len(world.provider.got) == 2


async def leave_sending(world: World, sms_request: m.SmsRequest) -> None:
    """The worker is killed after the provider was asked, before its answer was written down."""

    async def die(sms: Sms) -> Answer:
        raise RuntimeError("killed")

    send, world.provider.send = world.provider.send, die  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        await world.handle(sms_request)
    world.provider.send = send  # type: ignore[method-assign]
    world.broker.published.clear()


async def test_a_crash_after_the_provider_was_asked_is_told_as_unknown_before_the_next_try() -> None:
    world = World()
    await leave_sending(world, request())
    await world.handle(request())
    assert world.outcomes == ["unknown", "sending", "sent"]


async def test_with_receipts_a_crash_waits_for_one_before_it_is_sent_again() -> None:
    world = World(policy=WITH_RECEIPTS)
    await leave_sending(world, request())
    await world.handle(request())
    assert world.outcomes == ["unknown", "retry_scheduled"]
    (retry,) = world.retries()
    assert (retry.request.attempts, retry.due_at_ms) == (1, NOW_MS + 20_000)
    assert world.provider.got == []


@pytest.mark.parametrize(
    ("answer", "outcomes", "standing"),
    [
        # the provider is ill: try again later
        (Refused("50000", "Internal error", 500), ["sending", "failed", "retry_scheduled"], Standing.WAITING),
        # no connection was made: it cannot have arrived, and the provider counts as down
        (Unanswered(Silence.NOT_CONNECTED), ["sending", "failed", "retry_scheduled"], Standing.WAITING),
        # no answer in time: it may have arrived, and that is said
        (Unanswered(Silence.TIMEOUT), ["sending", "unknown", "failed", "retry_scheduled"], Standing.WAITING),
        # the number cannot get SMS, now or later
        (Refused("10002", "Invalid phone number", 400), ["sending", "failed", "dead"], Standing.CLOSED),
        # the recipient answered STOP, and only the provider knows
        (Refused("40300", "Blocked due to STOP", 400), ["sending", "opted_out"], Standing.CLOSED),
        # our key is wrong: that burns nothing
        (Refused("10009", "Authentication failed", 401), ["sending", "failed", "retry_scheduled"], Standing.WAITING),
    ],
)
async def test_what_follows_from_an_answer(answer: Answer, outcomes: list[str], standing: Standing) -> None:
    world = World(answer)
    await world.handle(request())
    assert world.outcomes == outcomes
    assert world.standing() is standing


async def test_with_receipts_a_timeout_is_no_failure_yet() -> None:
    world = World(Unanswered(Silence.TIMEOUT), policy=WITH_RECEIPTS)
    await world.handle(request())
    assert world.outcomes == ["sending", "unknown", "retry_scheduled"]


async def test_after_the_last_wait_for_a_receipt_the_request_is_dead() -> None:
    world = World(Unanswered(Silence.TIMEOUT), policy=WITH_RECEIPTS)
    await world.handle(request(attempts=2))
    (retry,) = world.retries()
    world.now_ms = retry.due_at_ms
    await world.handle(retry.request)
    assert world.outcomes == ["sending", "unknown", "retry_scheduled", "failed", "dead"]


async def test_a_retry_carries_the_attempts_that_were_made_and_when_it_is_due() -> None:
    world = World(Refused("50000", "Internal error", 500))
    await world.handle(request())
    (retry,) = world.retries()
    assert (retry.attempt, retry.request.attempts) == (1, 1)
    assert NOW_MS + 1_000 <= retry.due_at_ms <= NOW_MS + 1_500


async def test_after_the_last_attempt_the_request_lies_with_the_dead_letters_and_the_escalation_hears_of_it() -> None:
    world = World(Refused("50000", "Internal error", 500))
    await world.handle(request(attempts=2))
    (letter,) = world.broker.decoded("sms-dlq", m.SmsDeadLetter)
    assert (letter.attempts, letter.reason, letter.error_code) == (3, "exhausted", "50000")
    (missed,) = world.broker.decoded("escalations", m.SmsMissed)
    assert (missed.alert_id, missed.user_id, missed.level) == ("alert-1", "user-1", 1)


async def test_a_retry_and_a_dead_letter_name_the_record_that_they_come_from() -> None:
    world = World(Refused("50000", "Internal error", 500), Refused("10002", "Invalid phone number", 400))
    await world.handle_batch(FakeBatch([request(1), request(2, "user-2")], topic="sms-critical"))
    for topic, offset in (("sms-retries", b"0"), ("sms-dlq", b"1")):
        (record,) = [record for record in world.broker.published if record.topic == topic]
        headers = dict(record.headers)
        assert headers["original-topic"] == b"sms-critical"
        assert (headers["original-partition"], headers["original-offset"]) == (b"0", offset)
        assert headers.keys() >= {"id", "type", "attempt", "error", "error-code"}


async def test_a_record_that_is_read_again_after_its_retry_was_scheduled_is_left_to_the_retry() -> None:
    world = World(Refused("50000", "Internal error", 500))
    await world.handle(request())
    await world.handle(request())
    assert len(world.provider.got) == 1
    await world.handle(request(attempts=1))
    assert len(world.provider.got) == 2
    assert world.standing() is Standing.SENT


async def test_a_wrong_key_uses_up_no_attempt_and_stops_the_others() -> None:
    world = World(Refused("10009", "Authentication failed", 401))
    await world.handle(request())
    (retry,) = world.retries()
    assert retry.request.attempts == 0
    assert world.gate.way.pause is not None


@pytest.mark.parametrize(
    ("contact", "outcomes"),
    [
        (msgspec.structs.replace(ADA, phone_e164=None), ["failed", "dead"]),
        (msgspec.structs.replace(ADA, phone_e164="+1"), ["failed", "dead"]),
        (msgspec.structs.replace(ADA, sms_opted_out=True), ["opted_out"]),
    ],
)
async def test_nobody_is_texted_who_cannot_be(contact: m.Contact, outcomes: list[str]) -> None:
    world = World(people=[contact])
    await world.handle(request())
    assert world.provider.got == []
    assert world.outcomes == outcomes


async def test_nothing_leaves_for_a_partition_that_was_taken_away() -> None:
    world = World()
    batch = FakeBatch([request()])
    batch.ours = False
    with pytest.raises(Stale):
        await world.handle_batch(batch)
    assert world.provider.got == []
    assert world.standing() is Standing.NEW


async def test_an_answer_that_could_not_be_written_down_is_not_asked_for_again() -> None:
    world = World()
    batch = FakeBatch([request()])
    write = world.table.write

    async def lose_the_partition(sms: Sms) -> Answer:
        async def refuse(*_: object, **__: object) -> None:
            raise Stale

        world.table.write = refuse  # type: ignore[method-assign]
        return await Provider.send(world.provider, sms)

    world.provider.send = lose_the_partition  # type: ignore[method-assign]
    with pytest.raises(Stale):
        await world.handle_batch(batch)
    world.table.write = write  # type: ignore[method-assign]
    await world.handle(request())
    assert len(world.provider.got) == 1
    assert world.standing() is Standing.SENT


async def test_a_batch_that_must_end_gives_back_what_was_not_tried() -> None:
    world = World()
    batch = FakeBatch([request(1), request(2, "user-2")])
    batch.ending = True
    with pytest.raises(Stale):
        await world.handle_batch(batch)
    assert world.provider.got == []
    assert world.standing() is Standing.NEW


async def test_what_is_under_way_is_finished_when_the_batch_must_end() -> None:
    world = World(policy=NO_WINDOW)
    batch = FakeBatch([request(1), request(2, "user-2"), request(3)])

    async def end_the_batch(sms: Sms) -> Answer:
        batch.ending = len(world.provider.got) == 1
        return await Provider.send(world.provider, sms)

    world.provider.send = end_the_batch  # type: ignore[method-assign]
    with pytest.raises(Stale):
        await world.handle_batch(batch)
    assert world.texts == ["text 1", "text 2"]
    assert [world.standing(f"request-{n}") for n in (1, 2, 3)] == [Standing.SENT, Standing.SENT, Standing.NEW]


async def test_a_users_messages_keep_their_order_while_others_go_beside_them() -> None:
    world = World(policy=NO_WINDOW)
    await world.handle(*(request(number, f"user-{1 + number % 2}") for number in range(8)))
    sent = [sms.text for sms in world.provider.got if sms.to_e164 == ADA.phone_e164]
    assert sent == ["text 0", "text 2", "text 4", "text 6"]
    assert world.provider.most_in_flight == 2


async def test_no_more_than_the_allowed_number_are_under_way() -> None:
    people = [msgspec.structs.replace(ADA, user_id=f"user-{n}") for n in range(9)]
    world = World(limits=Limits(partitions=1, per_second=100_000, cap=1_000, per_worker=3), people=people)
    await world.handle(*(request(n, f"user-{n}") for n in range(9)))
    assert len(world.provider.got) == 9
    assert world.provider.most_in_flight <= 3


async def test_a_record_that_cannot_be_read_is_a_dead_letter_and_stops_nobody() -> None:
    world = World()
    await world.handle(b"not json", request())
    assert len(world.provider.got) == 1
    (letter,) = world.broker.decoded("sms-dlq", m.UnreadableRecord)
    assert letter.offset == 0
