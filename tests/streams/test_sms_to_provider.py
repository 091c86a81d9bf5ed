"""Dispatch with a scripted provider: what it decides, writes down and publishes."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from schemas import messages as m
from streams.consumer import Stale
from streams.domain.sms_answers import Accepted, Answer, Refused, Silence, Unanswered
from streams.sms_ledger import Ledger, Standing
from streams.sms_outcomes import Outcomes
from streams.sms_to_provider import Dispatch
from tests.streams.fakes import NOW_MS, FakeBatch, FakeBroker, FakeReference, FakeTable

if TYPE_CHECKING:
    from streams.consumer import Batch
    from streams.telnyx import Sms

pytestmark = pytest.mark.anyio

ADA = m.Contact(user_id="user-1", organization_id="org-1", name="Ada", phone_e164="+12025550101")
BEN = m.Contact(user_id="user-2", organization_id="org-1", name="Ben", phone_e164="+12025550102")
ACCEPTED = Accepted("message-1", 1)


class Provider:
    """Answers from a script, `Accepted` when it is through."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.got: list[Sms] = []
        self.in_flight = 0
        self.most_in_flight = 0

    async def send(self, sms: Sms) -> Answer:
        self.got.append(sms)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        return self.answers.pop(0) if self.answers else ACCEPTED


class World:
    def __init__(self, *answers: Answer, concurrency: int = 10, **contacts: m.Contact) -> None:
        self.broker = FakeBroker()
        self.table = FakeTable()
        self.ledger = Ledger(self.table)
        self.provider = Provider(*answers)
        self.dispatch = Dispatch(
            provider=self.provider,
            contacts=FakeReference(**(contacts or {"user_1": ADA, "user_2": BEN})),
            ledger=self.ledger,
            outcomes=Outcomes(self.broker.publish, str, lambda: NOW_MS),
            concurrency=concurrency,
            now_ms=lambda: NOW_MS,
            rng=random.Random(1),
        )

    async def handle(self, *requests: object) -> FakeBatch:
        batch = FakeBatch(requests)
        await self.dispatch.handle(cast("Batch", batch))
        return batch

    @property
    def outcomes(self) -> list[str]:
        return [msgspec.json.decode(value)["type"] for value in self.broker.values("sms-outcomes")]

    def standing(self, request_id: str = "request-1") -> Standing:
        return self.ledger.read(cast("Batch", FakeBatch([])), request_id).standing


def request(number: int = 1, user_id: str = "user-1", **changes: object) -> m.SmsRequest:
    made = m.SmsRequest(
        request_id=f"request-{number}",
        alert_id="alert-1",
        unit_id="unit-1",
        organization_id="org-1",
        user_id=user_id,
        kind=m.AlertKind.TEMPERATURE_HIGH,
        severity=m.Severity.CRITICAL,
        text=f"text {number}",
        breach_at_ms=NOW_MS,
        requested_at_ms=NOW_MS,
    )
    return msgspec.structs.replace(made, **changes)


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


async def test_a_crash_after_the_provider_was_asked_is_told_as_unknown_before_the_next_try() -> None:
    world = World()
    begun = world.ledger.read(cast("Batch", FakeBatch([])), "request-1").moved(Standing.SENDING, 1)
    await world.ledger.write(cast("Batch", FakeBatch([])), "request-1", begun)
    await world.handle(request())
    assert world.outcomes == ["unknown", "sending", "sent"]


@pytest.mark.parametrize(
    ("answer", "outcomes", "standing"),
    [
        # the provider is ill: try again later
        (Refused("50000", "Internal error", 500), ["sending", "failed", "retry_scheduled"], Standing.WAITING),
        # no connection was made: it cannot have arrived
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


async def test_a_retry_carries_the_attempts_that_were_made_and_when_it_is_due() -> None:
    world = World(Refused("50000", "Internal error", 500))
    await world.handle(request())
    (retry,) = world.broker.decoded("sms-retries", m.SmsRetry)
    assert (retry.attempt, retry.request.attempts) == (1, 1)
    assert NOW_MS + 1_000 <= retry.due_at_ms <= NOW_MS + 1_500


async def test_after_the_last_attempt_the_request_lies_with_the_dead_letters() -> None:
    world = World(Refused("50000", "Internal error", 500))
    await world.handle(request(attempts=2))
    (letter,) = world.broker.decoded("sms-dlq", m.SmsDeadLetter)
    assert (letter.attempts, letter.reason, letter.error_code) == (3, "exhausted", "50000")


async def test_a_record_that_is_read_again_after_its_retry_was_scheduled_is_left_to_the_retry() -> None:
    world = World(Refused("50000", "Internal error", 500))
    await world.handle(request())
    await world.handle(request())
    assert len(world.provider.got) == 1
    await world.handle(request(attempts=1))
    assert len(world.provider.got) == 2
    assert world.standing() is Standing.SENT


async def test_a_wrong_key_uses_up_no_attempt() -> None:
    world = World(Refused("10009", "Authentication failed", 401))
    await world.handle(request())
    (retry,) = world.broker.decoded("sms-retries", m.SmsRetry)
    assert retry.request.attempts == 0


@pytest.mark.parametrize(
    ("contact", "outcomes"),
    [
        (msgspec.structs.replace(ADA, phone_e164=None), ["failed", "dead"]),
        (msgspec.structs.replace(ADA, phone_e164="+1"), ["failed", "dead"]),
        (msgspec.structs.replace(ADA, sms_opted_out=True), ["opted_out"]),
    ],
)
async def test_nobody_is_texted_who_cannot_be(contact: m.Contact, outcomes: list[str]) -> None:
    world = World(user_1=contact)
    await world.handle(request())
    assert world.provider.got == []
    assert world.outcomes == outcomes


async def test_nothing_leaves_for_a_partition_that_was_taken_away() -> None:
    world = World()
    batch = FakeBatch([request()])
    batch.ours = False
    with pytest.raises(Stale):
        await world.dispatch.handle(cast("Batch", batch))
    assert world.provider.got == []
    assert world.standing() is Standing.SENDING


async def test_a_batch_that_must_end_gives_back_what_was_not_tried() -> None:
    world = World()
    batch = FakeBatch([request(1), request(2, "user-2")])
    batch.ending = True
    with pytest.raises(Stale):
        await world.dispatch.handle(cast("Batch", batch))
    assert world.provider.got == []
    assert world.standing() is Standing.NEW


async def test_what_is_under_way_is_finished_when_the_batch_must_end() -> None:
    world = World()
    batch = FakeBatch([request(1), request(2, "user-2"), request(3)])

    async def end_the_batch(sms: Sms) -> Answer:
        batch.ending = True
        return await Provider.send(world.provider, sms)

    world.provider.send = end_the_batch  # type: ignore[method-assign]
    with pytest.raises(Stale):
        await world.dispatch.handle(cast("Batch", batch))
    assert [sms.text for sms in world.provider.got] == ["text 1", "text 2"]
    assert [world.standing(f"request-{n}") for n in (1, 2, 3)] == [Standing.SENT, Standing.SENT, Standing.NEW]


async def test_a_users_messages_keep_their_order_while_others_go_beside_them() -> None:
    world = World()
    await world.handle(*(request(number, f"user-{1 + number % 2}") for number in range(8)))
    sent = [sms.text for sms in world.provider.got if sms.to_e164 == ADA.phone_e164]
    assert sent == ["text 0", "text 2", "text 4", "text 6"]
    assert world.provider.most_in_flight == 2


async def test_no_more_than_the_allowed_number_are_under_way() -> None:
    people = {f"user_{n}": msgspec.structs.replace(ADA, user_id=f"user-{n}") for n in range(9)}
    world = World(concurrency=3, **people)
    await world.handle(*(request(n, f"user-{n}") for n in range(9)))
    assert len(world.provider.got) == 9
    assert world.provider.most_in_flight <= 3


async def test_a_record_that_cannot_be_read_is_a_dead_letter_and_stops_nobody() -> None:
    world = World()
    await world.handle(b"not json", request())
    assert len(world.provider.got) == 1
    (letter,) = world.broker.decoded("sms-dlq", m.UnreadableRecord)
    assert letter.offset == 0
