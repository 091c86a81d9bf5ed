from __future__ import annotations

import msgspec
import pytest

from domain.notification.escalation import End
from schemas import messages as m
from tests.streams.fakes import NOW_MS
from tests.streams.notifications.escalation_world import (
    WAIT_MS,
    World,
    acknowledge,
    contact,
    escalated,
    notify_now,
    resolved,
    silence,
    triggered,
)

pytestmark = pytest.mark.anyio

FIRST = [("ada", 1), ("ben", 1)]


async def test_an_acknowledgement_cancels_the_timer_and_a_timer_that_fires_all_the_same_reminds_nobody() -> None:
    world = World()
    await world.handle(triggered())
    due = world.timer()
    assert due is not None
    await world.twice(acknowledge())
    assert world.timer() is None
    world.now_ms += WAIT_MS
    await world.handle(msgspec.json.decode(due.value, type=m.EscalationDue))
    assert world.notified() == FIRST
    assert world.state().escalation.ended is End.ACKNOWLEDGED


async def test_nothing_is_told_in_a_silence_and_the_escalation_goes_on_when_it_ends() -> None:
    world = World()
    await world.handle(triggered(m.Severity.WARNING))
    await world.twice(silence(NOW_MS + 2 * WAIT_MS))
    await world.handle(escalated(former=m.Severity.WARNING))
    await world.later()
    assert world.requests("sms-critical") == []
    await world.later()
    assert [request.user_id for request in world.requests("sms-critical")] == ["carl"]


async def test_the_newest_silence_counts() -> None:
    world = World()
    await world.handle(triggered())
    await world.handle(silence(NOW_MS + 9 * WAIT_MS), silence(NOW_MS))
    await world.later()
    assert world.notified() == [*FIRST, ("carl", 2)]


async def test_an_order_tells_the_people_of_the_present_level_once_more_and_once_only() -> None:
    world = World()
    await world.handle(triggered())
    await world.twice(notify_now())
    assert world.notified() == FIRST * 2
    await world.handle(notify_now(NOW_MS + 1))
    assert world.notified() == FIRST * 3
    await world.later()
    await world.handle(notify_now(NOW_MS + 2))
    assert world.notified() == [*FIRST * 3, ("carl", 2), ("carl", 2)]


async def test_an_order_tells_whom_the_level_has_now() -> None:
    world = World()
    await world.handle(triggered())
    world.staff(contact("ben"), contact("eve"))
    await world.handle(notify_now())
    assert world.notified() == [*FIRST, ("ben", 1), ("eve", 1)]


async def test_an_order_ends_a_silence() -> None:
    world = World()
    await world.handle(triggered())
    await world.handle(silence(NOW_MS + 9 * WAIT_MS), notify_now())
    assert world.notified() == FIRST * 2
    await world.later()
    assert world.notified()[-1] == ("carl", 2)


async def test_an_order_about_a_silent_alert_tells_the_first_level_and_begins_no_escalation() -> None:
    world = World()
    await world.handle(triggered(paging=False))
    await world.handle(notify_now())
    assert world.notified() == FIRST
    assert world.timer() is None


async def test_an_order_about_an_acknowledged_alert_is_no_reminder() -> None:
    world = World()
    await world.handle(triggered())
    await world.later()
    await world.handle(acknowledge())
    await world.handle(notify_now())
    assert world.notified() == [*FIRST, ("carl", 2), ("carl", 1)]
    assert not world.requests()[-1].text.startswith("REMINDER")


async def test_an_order_about_a_resolved_alert_tells_nobody() -> None:
    world = World()
    await world.handle(triggered(), resolved())
    await world.handle(notify_now())
    assert world.notified() == FIRST


async def test_an_order_that_came_before_its_silent_alert_is_carried_out_when_the_alert_comes() -> None:
    world = World()
    await world.handle(notify_now())
    assert world.notified() == []
    await world.twice(triggered(paging=False))
    await world.handle(triggered(paging=False))
    assert world.notified() == FIRST


async def test_an_order_that_came_before_a_paging_alert_does_not_tell_people_twice() -> None:
    world = World()
    await world.handle(notify_now())
    await world.handle(triggered())
    assert world.notified() == FIRST


async def test_an_order_that_finds_nobody_is_not_lost_silently() -> None:
    world = World(contact("ada", on_duty=False))
    await world.handle(triggered(paging=False))
    await world.handle(notify_now())
    (end,) = world.events()
    assert isinstance(end, m.EscalationEnded)
    assert end.because == "nobody_on_duty"


async def test_an_unreadable_order_is_a_dead_letter() -> None:
    world = World()
    await world.unreadable("alert-commands")
    (letter,) = world.broker.decoded("sms-dlq", m.UnreadableRecord)
    assert letter.topic == "alert-commands"
