"""Who is sent to now, later or never: rate windows, reminders, caps, lanes, and a provider that is down."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from domain.notification.answers import NoAnswer, Unanswered
from domain.notification.request_state import RequestState
from schemas import messages as m
from streams.notifications.rate_limiter import Limits
from streams.notifications.telnyx.codes import refused
from tests.streams.fakes import NOW_MS, FakeBatch
from tests.streams.notifications.sms_world import ADA, BEN, World, request, sms_policy

pytestmark = pytest.mark.anyio

NO_WINDOW = sms_policy(window_ms=0)
WITH_RECEIPTS = sms_policy(receipts=True)
WINDOW_MS = 900_000


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
    world = World(refused("10002", 400, "Invalid phone number"))
    await world.handle(request(1))
    await world.handle(request(2))
    assert world.outcomes_of(2) == ["sending", "sent"]


async def test_what_may_have_arrived_keeps_the_window_until_that_is_known() -> None:
    world = World(Unanswered(NoAnswer.TIMEOUT), policy=WITH_RECEIPTS)
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
    world = World(policy=sms_policy(roll_up=True))
    text = "CRITICAL: fridge is above 8.0 C. Reply ACK 4821"
    await world.handle(*(request(number, text=text) for number in range(1, 5)))
    world.now_ms += WINDOW_MS
    await world.handle(*(retry.request for retry in world.retries()))
    assert world.texts == [text, "CRITICAL: fridge is above 8.0 C. 2 more were held back. Reply ACK 4821"]
    assert [world.outcomes_of(number)[-1] for number in (2, 3, 4)] == ["sent", "rate_limited", "rate_limited"]


async def test_with_the_roll_up_nothing_is_told_of_an_alert_that_is_over() -> None:
    world = World(policy=sms_policy(roll_up=True))
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
    assert world.state() is RequestState.CLOSED


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
    world = World(Unanswered(NoAnswer.NOT_CONNECTED), people=people)
    batch = FakeBatch([request(n, f"user-{n}") for n in range(1, 6)])
    world.limiter._limits = msgspec.structs.replace(world.limiter._limits, per_worker=1)
    async with world.sending():
        handling = asyncio.create_task(world.feed(batch))
        for _ in range(50):
            await asyncio.sleep(0.005)
        assert len(world.provider.got) == 1
        world.now_ms += 1_000
        await asyncio.wait_for(handling, 5)
    assert len(world.provider.got) == 5
    (retry,) = world.retries()
    assert retry.request.attempts == 0
