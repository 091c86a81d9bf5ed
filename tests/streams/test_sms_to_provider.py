"""Dispatch with a scripted provider: what it decides, writes down and publishes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from schemas import messages as m
from streams.consumer import Stale
from streams.domain.sms_answers import Answer, Refused, Silence, Unanswered
from streams.sms.gate import Limits
from streams.sms.ledger import Standing
from streams.sms.plans import SmsPolicy
from tests.streams.fakes import NOW_MS, FakeBatch
from tests.streams.sms_world import ADA, BEN, Provider, World, request

if TYPE_CHECKING:
    from streams.consumer import Batch
    from streams.sms.telnyx import Sms

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


async def test_the_second_sms_of_a_kind_is_limited_and_logged_and_not_tried_again() -> None:
    world = World()
    await world.handle(request(1), request(2))
    assert world.texts == ["text 1"]
    assert world.outcomes_of(2) == ["rate_limited"]
    assert world.retries() == []


@pytest.mark.parametrize(("later_ms", "sent"), [(WINDOW_MS - 1, 1), (WINDOW_MS, 2)])
async def test_the_window_ends_to_the_millisecond(later_ms: int, sent: int) -> None:
    world = World()
    await world.handle(request(1))
    world.now_ms += later_ms
    await world.handle(request(2))
    assert len(world.provider.got) == sent


async def test_another_kind_and_another_person_are_not_limited() -> None:
    world = World()
    await world.handle(request(1), request(2, kind=m.AlertKind.TEMPERATURE_LOW), request(3, "user-2"))
    assert len(world.provider.got) == 3


async def test_only_what_was_sent_uses_the_window() -> None:
    world = World(Refused("10002", "Invalid phone number", 400))
    await world.handle(request(1))
    await world.handle(request(2))
    assert world.outcomes_of(2) == ["sending", "sent"]


async def test_what_may_have_arrived_keeps_the_window_until_that_is_known() -> None:
    world = World(Unanswered(Silence.TIMEOUT), policy=WITH_RECEIPTS)
    await world.handle(request(1))
    await world.handle(request(2))
    assert world.outcomes_of(2) == ["retry_scheduled"]
    assert world.texts == ["text 1"]


async def test_a_limited_reminder_waits_for_the_window() -> None:
    world = World()
    await world.handle(request(1), request(2, level=2))
    (retry,) = world.retries()
    assert (retry.due_at_ms, retry.request.attempts) == (NOW_MS + WINDOW_MS, 0)


async def test_with_the_roll_up_the_next_sms_says_how_many_were_held_back() -> None:
    world = World(policy=SmsPolicy(roll_up=True))
    text = "CRITICAL: fridge is above 8.0 C. Reply ACK 4821"
    await world.handle(*(request(number, text=text) for number in range(1, 5)))
    world.now_ms += WINDOW_MS
    await world.handle(*(retry.request for retry in world.retries()))
    assert world.texts == [text, "CRITICAL: fridge is above 8.0 C. 2 more were held back. Reply ACK 4821"]
    assert [world.outcomes_of(number)[-1] for number in (2, 3, 4)] == ["sent", "rate_limited", "rate_limited"]


async def test_with_the_roll_up_nothing_is_told_of_an_alert_that_is_over() -> None:
    world = World(policy=SmsPolicy(roll_up=True))
    await world.handle(request(1), request(2))
    world.now_ms += WINDOW_MS
    world.closed.closed["alert-2"] = "resolved"
    await world.handle(*(retry.request for retry in world.retries()))
    assert world.outcomes_of(2)[-1] == "cancelled"


@pytest.mark.parametrize("known", [True, False])
async def test_no_reminder_leaves_after_the_acknowledgement_was_published(known: bool) -> None:
    world = World(policy=NO_WINDOW)
    (world.closed.closed if known else world.closed.published)["alert-1"] = "acknowledged"
    await world.handle(request(1, level=2))
    assert world.provider.got == []
    assert world.outcomes[-1] == "cancelled"
    assert world.standing() is Standing.CLOSED


async def test_a_first_sms_goes_out_also_when_the_alert_is_over() -> None:
    world = World()
    world.closed.closed["alert-1"] = "resolved"
    await world.handle(request(1))
    assert world.outcomes == ["sending", "sent"]


@pytest.mark.parametrize(("minutes", "looked_at_again_after"), [(1, 1), (43_200, 720)])
async def test_a_silenced_reminder_comes_when_the_silence_is_over_or_is_looked_at_twice_a_day(
    minutes: int, looked_at_again_after: int
) -> None:
    """A long silence is waited for in pieces: the alert may end in it, which is remembered for a day only."""
    world = World()
    world.closed.closed["alert-1"] = "silenced"
    world.closed.silent_until_ms["alert-1"] = NOW_MS + minutes * 60_000
    await world.handle(request(1, level=2))
    (retry,) = world.retries()
    assert retry.due_at_ms == NOW_MS + looked_at_again_after * 60_000


async def test_an_organization_waits_at_its_own_cap_and_others_do_not() -> None:
    ada = msgspec.structs.replace(ADA, organization_sms_per_hour=2)
    world = World(policy=NO_WINDOW, people=[ada, msgspec.structs.replace(BEN, organization_id="org-2")])
    await world.handle(*(request(number) for number in range(1, 4)), request(4, "user-2", organization_id="org-2"))
    assert sorted(world.texts) == ["text 1", "text 2", "text 4"]
    (retry,) = world.retries()
    assert (retry.request.request_id, retry.due_at_ms) == ("request-3", NOW_MS + 3_600_000)


async def test_critical_goes_before_what_came_earlier() -> None:
    people = [msgspec.structs.replace(ADA, user_id=f"user-{n}") for n in range(1, 31)]
    world = World(limits=Limits(partitions=1, per_second=100_000, cap=1_000, per_worker=1), people=people)
    info = [request(n, f"user-{n}", severity=m.Severity.INFO) for n in range(1, 30)]
    await world.handle(*info, request(30, "user-30"))
    assert world.texts[0] == "text 30"


async def test_while_the_provider_is_down_one_probe_leaves_and_nothing_is_burnt() -> None:
    people = [msgspec.structs.replace(ADA, user_id=f"user-{n}") for n in range(1, 6)]
    world = World(Unanswered(Silence.NOT_CONNECTED), people=people)
    batch = FakeBatch([request(n, f"user-{n}") for n in range(1, 6)])
    world.gate._limits = msgspec.structs.replace(world.gate._limits, per_worker=1)
    async with world.sending():
        handling = asyncio.create_task(world.dispatch.handle(cast("Batch", batch)))
        for _ in range(50):
            await asyncio.sleep(0.005)
        assert len(world.provider.got) == 1
        world.now_ms += 1_000
        await asyncio.wait_for(handling, 5)
    assert len(world.provider.got) == 5
    (retry,) = world.retries()
    assert retry.request.attempts == 0
