"""Dispatch with a scripted provider: what it decides, writes down and publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from domain.notification.answers import Answer, NoAnswer, Unanswered
from domain.notification.request_state import RequestState
from schemas import messages as m
from streams.engine.consumer import Stale
from streams.notifications.rate_limiter import Limits
from streams.notifications.telnyx.codes import refused
from tests.streams.fakes import NOW_MS, FakeBatch
from tests.streams.notifications.sms_world import ADA, Provider, World, request, sms_policy

if TYPE_CHECKING:
    from streams.notifications.provider import Sms

pytestmark = pytest.mark.anyio

NO_WINDOW = sms_policy(window_ms=0)
WITH_RECEIPTS = sms_policy(receipts=True)
DEADLINE_MS = 14_400_000


async def test_an_sms_is_announced_then_sent_then_reported() -> None:
    world = World()
    await world.handle(request())
    assert [(sms.to_e164, sms.text) for sms in world.provider.got] == [("+12025550101", "text 1")]
    assert world.outcomes == ["sending", "sent"]
    assert world.state() is RequestState.SENT


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


async def test_a_crash_after_the_provider_was_asked_is_told_as_unknown_also_where_a_window_holds_it_back() -> None:
    world = World()
    warning = request(1, severity=m.Severity.WARNING)
    await leave_sending(world, warning)
    await world.handle(request(2))
    await world.handle(warning)
    assert world.outcomes_of(1) == ["unknown", "retry_scheduled", "rate_limited"]


async def test_with_receipts_a_crash_waits_for_one_before_it_is_sent_again() -> None:
    world = World(policy=WITH_RECEIPTS)
    await leave_sending(world, request())
    await world.handle(request())
    assert world.outcomes == ["unknown", "retry_scheduled"]
    (retry,) = world.retries()
    assert (retry.request.attempts, retry.due_at_ms) == (0, NOW_MS + 20_000)
    assert world.provider.got == []


@pytest.mark.parametrize(
    ("answer", "outcomes", "state"),
    [
        # the provider is ill: try again later
        (refused("50000", 500, "Internal error"), ["sending", "failed", "retry_scheduled"], RequestState.WAITING),
        # no connection was made: it cannot have arrived, and the provider counts as down
        (Unanswered(NoAnswer.NOT_CONNECTED), ["sending", "failed", "retry_scheduled"], RequestState.WAITING),
        # no answer in time: it may have arrived, and that is said
        (Unanswered(NoAnswer.TIMEOUT), ["sending", "unknown", "failed", "retry_scheduled"], RequestState.WAITING),
        # the number cannot get SMS, now or later
        (refused("10002", 400, "Invalid phone number"), ["sending", "failed", "dead"], RequestState.CLOSED),
        # the recipient answered STOP, and only the provider knows
        (refused("40300", 400, "Blocked due to STOP"), ["sending", "opted_out"], RequestState.CLOSED),
        # our key is wrong: that burns nothing
        (
            refused("10009", 401, "Authentication failed"),
            ["sending", "failed", "retry_scheduled"],
            RequestState.WAITING,
        ),
    ],
)
async def test_what_follows_from_an_answer(answer: Answer, outcomes: list[str], state: RequestState) -> None:
    world = World(answer)
    await world.handle(request())
    assert world.outcomes == outcomes
    assert world.state() is state


async def test_with_receipts_a_timeout_is_no_failure_yet() -> None:
    world = World(Unanswered(NoAnswer.TIMEOUT), policy=WITH_RECEIPTS)
    await world.handle(request())
    assert world.outcomes == ["sending", "unknown", "retry_scheduled"]


async def test_after_the_last_wait_for_a_receipt_it_is_sent_again_as_long_as_its_deadline_allows() -> None:
    world = World(*[Unanswered(NoAnswer.TIMEOUT)] * 3, policy=WITH_RECEIPTS)
    await world.handle(request())
    for _ in range(2):
        retry = world.retries()[-1]
        world.now_ms = retry.due_at_ms
        await world.handle(retry.request)
    assert len({sms.ids.attempt for sms in world.provider.got if sms.ids}) == 3
    assert [(retry.attempt, retry.request.provider_failures) for retry in world.retries()] == [(0, 1), (0, 2), (0, 3)]
    world.now_ms = NOW_MS + DEADLINE_MS
    await world.handle(world.retries()[-1].request)
    assert world.outcomes[-2:] == ["failed", "dead"]


async def test_a_retry_carries_the_attempts_that_were_made_and_when_it_is_due() -> None:
    world = World(refused("40006", 422, "Recipient server unavailable"))
    await world.handle(request())
    (retry,) = world.retries()
    assert (retry.attempt, retry.request.attempts) == (1, 1)
    assert NOW_MS + 1_000 <= retry.due_at_ms <= NOW_MS + 1_500


async def test_after_the_last_attempt_the_request_lies_with_the_dead_letters_and_the_escalation_hears_of_it() -> None:
    world = World(refused("40006", 422, "Recipient server unavailable"))
    await world.handle(request(attempts=2))
    (letter,) = world.broker.decoded("sms-dlq", m.SmsDeadLetter)
    assert (letter.attempts, letter.reason, letter.error_code) == (3, "exhausted", "40006")
    (missed,) = world.broker.decoded("escalations", m.PageUndelivered)
    assert (missed.alert_id, missed.user_id, missed.level) == ("alert-1", "user-1", 1)


async def test_a_retry_and_a_dead_letter_name_the_record_that_they_come_from() -> None:
    world = World(refused("40006", 422, "Recipient server unavailable"), refused("10002", 400, "Invalid phone number"))
    await world.handle_batch(FakeBatch([request(1), request(2, "user-2")], topic="sms-critical"))
    for topic, offset in (("sms-retries", b"0"), ("sms-dlq", b"1")):
        (record,) = [record for record in world.broker.published if record.topic.name == topic]
        headers = dict(record.headers)
        assert headers["original-topic"] == b"sms-critical"
        assert (headers["original-partition"], headers["original-offset"]) == (b"0", offset)
        assert headers.keys() >= {"id", "type", "attempt", "error", "error-code"}


async def test_a_record_that_is_read_again_after_its_retry_was_scheduled_is_left_to_the_retry() -> None:
    world = World(refused("40006", 422, "Recipient server unavailable"))
    await world.handle(request())
    await world.handle(request())
    assert len(world.provider.got) == 1
    await world.handle(request(attempts=1))
    assert len(world.provider.got) == 2
    assert world.state() is RequestState.SENT


async def test_a_page_for_the_only_contact_survives_ten_minutes_of_503_and_is_sent_once() -> None:
    world = World(people=[ADA])
    answer = refused("http-503", 503, "Service Unavailable")
    message, asked = request(), 0
    while world.state() is not RequestState.SENT:
        world.provider.answers = [answer] if world.now_ms < NOW_MS + 600_000 else []
        await world.handle(message)
        asked += 1
        if world.state() is RequestState.WAITING:
            message, world.now_ms = world.retries()[-1].request, world.retries()[-1].due_at_ms
    assert world.now_ms - (NOW_MS + 600_000) <= 15_000
    assert len(world.provider.got) == asked
    assert world.outcomes.count("sent") == 1
    assert "dead" not in world.outcomes


@pytest.mark.parametrize(
    ("severity", "deadline_ms"),
    [(m.Severity.CRITICAL, 14_400_000), (m.Severity.WARNING, 3_600_000), (m.Severity.INFO, 1_800_000)],
)
async def test_a_message_ends_by_the_deadline_of_its_severity(severity: m.Severity, deadline_ms: int) -> None:
    world = World(policy=NO_WINDOW)
    world.now_ms = NOW_MS + deadline_ms - 1
    await world.handle(request(1, severity=severity))
    world.now_ms = NOW_MS + deadline_ms
    await world.handle(request(2, severity=severity))
    assert len(world.texts) == 1
    (letter,) = world.broker.decoded("sms-dlq", m.SmsDeadLetter)
    assert (letter.request.request_id, letter.reason) == ("request-2", "expired")
    # What a person sends again has all the time again.
    await world.handle(request(2, severity=severity, redrives=1))
    assert len(world.texts) == 2


async def test_a_wrong_key_uses_up_no_attempt_and_stops_the_others() -> None:
    world = World(refused("10009", 401, "Authentication failed"))
    await world.handle(request())
    (retry,) = world.retries()
    assert retry.request.attempts == 0
    assert world.limiter.breaker.opened is not None


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
    assert world.state() is RequestState.NEW


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
    assert world.state() is RequestState.SENT


async def test_a_batch_that_must_end_gives_back_what_was_not_tried() -> None:
    world = World()
    batch = FakeBatch([request(1), request(2, "user-2")])
    batch.ending = True
    with pytest.raises(Stale):
        await world.handle_batch(batch)
    assert world.provider.got == []
    assert world.state() is RequestState.NEW


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
    assert [world.state(f"request-{n}") for n in (1, 2, 3)] == [RequestState.SENT, RequestState.SENT, RequestState.NEW]


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
