from __future__ import annotations

import asyncio
import itertools

import msgspec
import pytest

from domain.notification.escalation import End
from schemas import messages as m
from schemas.topic import DAY_MS
from streams.engine.expiry import Expiry
from streams.notifications.escalation_states import REMEMBERED_MS, is_over
from tests.streams.fakes import NOW_MS
from tests.streams.notifications.escalation_world import (
    WAIT_MS,
    World,
    acknowledge,
    contact,
    heard,
    missed,
    resolved,
    triggered,
)

pytestmark = pytest.mark.anyio

FIRST = [("ada", 1), ("ben", 1)]


def due(level: int = 1) -> m.EscalationDue:
    return m.EscalationDue(
        alert_id="alert-1", unit_id="unit-1", organization_id="org-1", level=level, at_ms=NOW_MS + WAIT_MS
    )


async def test_nobody_answers_and_the_chain_is_told_level_by_level_to_its_end() -> None:
    world = World(contact("ada"), contact("carl", 2), contact("dora", 4))
    await world.handle(triggered())
    for _ in range(3):
        await world.later()
    assert world.notified() == [("ada", 1), ("carl", 2), ("dora", 4)]
    assert [request.text.split()[0] for request in world.requests()] == ["CRITICAL:", "REMINDER", "REMINDER"]
    *steps, end = world.events()
    assert [(step.level, getattr(step, "user_ids", ())) for step in steps] == [
        (1, ("ada",)),
        (2, ("carl",)),
        (4, ("dora",)),
    ]
    assert isinstance(end, m.EscalationEnded)
    assert (end.because, end.level) == ("chain_ended", 4)
    assert world.timer() is None
    await world.handle(*steps, end)
    assert len(world.events()) == 4


async def test_the_same_people_are_reminded_where_the_chain_has_one_level() -> None:
    world = World(contact("ada"))
    await world.handle(triggered())
    await world.later()
    assert world.notified() == [("ada", 1), ("ada", 2)]


async def test_whoever_is_on_duty_now_is_told() -> None:
    world = World()
    await world.handle(triggered())
    world.staff(contact("ada"), contact("eve", 2), contact("carl", 2, on_duty=False))
    await world.later()
    assert world.notified()[-1] == ("eve", 2)


async def test_a_crash_before_the_state_was_written_makes_the_same_reminder() -> None:
    world = World()
    await world.handle(triggered())
    world.now_ms += WAIT_MS
    await world.twice(due())
    assert world.notified() == [*FIRST, ("carl", 2)]
    timer = world.timer()
    assert timer is not None
    assert timer.due_at_ms == world.now_ms + WAIT_MS


async def test_a_timer_that_fires_twice_reminds_once_and_one_that_fires_early_is_set_again() -> None:
    world = World()
    await world.handle(triggered())
    world.timer_table.rows.clear()
    await world.handle(due())
    assert world.notified() == FIRST
    assert world.timer() is not None
    world.now_ms += WAIT_MS
    await world.handle(due(), due())
    assert world.notified() == [*FIRST, ("carl", 2)]


async def test_an_sms_that_is_missed_by_all_of_a_level_does_not_wait() -> None:
    world = World()
    await world.handle(triggered())
    await world.twice(missed("ada"), missed("ben"))
    assert world.notified() == [*FIRST, ("carl", 2)]
    await world.handle(missed("ada"), missed("ben"))
    assert world.notified() == [*FIRST, ("carl", 2)]
    # the last level's SMS is missed as well: nobody is left
    await world.handle(missed("carl", 2))
    assert isinstance(world.events()[-1], m.EscalationEnded)


async def test_an_sms_that_somebody_else_has_on_the_phone_leaves_the_clock_alone() -> None:
    world = World()
    await world.handle(triggered())
    await world.handle(heard("ben"), missed("ada"))
    assert world.notified() == FIRST
    await world.later()
    assert world.notified() == [*FIRST, ("carl", 2)]


@pytest.mark.parametrize("why", ["acknowledged", "resolved"])
@pytest.mark.parametrize("news", [due(), missed("ada")])
async def test_an_order_that_is_at_the_broker_and_in_no_flow_yet_counts(why: str, news: m.EscalationEvent) -> None:
    world = World()
    await world.handle(triggered())
    world.now_ms += WAIT_MS
    world.closed.why["alert-1"] = why
    await world.handle(news)
    assert world.notified() == FIRST
    assert world.closed.asked == 1
    assert world.timer() is None
    assert world.state().escalation.ended == why


async def test_a_silence_that_is_at_the_broker_and_in_no_flow_yet_puts_the_step_off() -> None:
    world = World()
    await world.handle(triggered())
    world.now_ms += WAIT_MS
    world.closed.why["alert-1"], world.closed.until_ms = "silenced", NOW_MS + 2 * WAIT_MS
    await world.handle(due())
    assert world.notified() == FIRST
    world.closed.why.clear()
    await world.later()
    assert world.notified() == [*FIRST, ("carl", 2)]


async def test_a_broker_that_does_not_say_how_far_orders_reach_stops_no_reminder_here() -> None:
    """The dispatch asks once more before it sends."""
    world = World()
    world.closed.answers = False
    await world.handle(triggered())
    await world.later()
    assert world.notified() == [*FIRST, ("carl", 2)]


@pytest.mark.parametrize("order", list(itertools.permutations(("alert", "acknowledge", "due"))))
async def test_no_reminder_follows_an_acknowledgement_in_any_order_of_the_flows(order: tuple[str, ...]) -> None:
    world = World()
    await world.handle(triggered())
    world.now_ms += WAIT_MS
    acknowledged = False
    for what in order:
        before = len(world.notified())
        await world.handle({"alert": triggered(), "acknowledge": acknowledge(), "due": due()}[what])
        acknowledged |= what == "acknowledge"
        assert not (acknowledged and len(world.notified()) > before)
    await world.later()
    assert len(world.notified()) == len(FIRST) + (order.index("due") < order.index("acknowledge"))


async def test_two_flows_that_change_an_alert_at_the_same_time_overwrite_nothing() -> None:
    world = World()
    await world.handle(triggered())
    world.now_ms += WAIT_MS
    world.broker.open.clear()
    async with asyncio.TaskGroup() as group:
        for message in (acknowledge(), due()):
            group.create_task(world.handle(message))
        # Both have begun, and neither could publish.
        await asyncio.sleep(0)
        world.broker.open.set()
    assert world.state().escalation.ended is End.ACKNOWLEDGED
    assert world.notified() == FIRST
    assert world.timer() is None


async def test_news_of_an_alert_that_nobody_knows_changes_nothing() -> None:
    world = World()
    await world.handle(due(), heard("ada"), missed("ada"))
    assert world.broker.published == []
    assert world.table.rows == {}


async def test_an_unreadable_event_is_a_dead_letter() -> None:
    world = World()
    await world.unreadable("escalations")
    (letter,) = world.broker.decoded("sms-dlq", m.UnreadableRecord)
    assert letter.topic == "escalations"


async def test_what_is_resolved_or_never_came_is_forgotten_a_good_week_later() -> None:
    world = World()
    await world.handle(triggered(), resolved())
    await world.handle(msgspec.structs.replace(triggered(), alert_id="open"))
    await world.handle(msgspec.structs.replace(acknowledge(), alert_id="never-came"))
    expiry = Expiry("escalations", world.table, lambda _, raw: is_over(raw, world.now_ms))
    world.now_ms += REMEMBERED_MS
    assert await expiry.once() == 0
    world.now_ms += DAY_MS
    assert await expiry.once() == 2
    assert set(world.table.rows) == {b"open"}


async def test_the_reason_of_an_end_is_kept() -> None:
    world = World(contact("ada"))
    await world.handle(triggered())
    await world.later()
    await world.later()
    assert world.state().escalation.ended is End.CHAIN_ENDED
    await world.handle(acknowledge())
    assert world.state().escalation.ended is End.ACKNOWLEDGED


async def test_each_step_says_whom_it_passed_over_and_why() -> None:
    world = World(
        contact("ada"),
        contact("carl", 2),
        contact("eve", on_duty=False),
        contact("joe", minimum_severity="critical"),
    )
    await world.handle(triggered(m.Severity.WARNING))
    await world.later()
    first, second = world.events()
    assert isinstance(first, m.EscalationStepped)
    assert isinstance(second, m.EscalationStepped)
    assert {one.user_id: one.because.value for one in first.not_asked} == {
        "carl": "later_level",
        "eve": "off_duty",
        "joe": "severity",
    }
    assert {one.user_id: one.because.value for one in second.not_asked} == {
        "ada": "earlier_level",
        "eve": "off_duty",
        "joe": "severity",
    }


async def test_with_nobody_on_duty_the_end_says_why_of_each() -> None:
    world = World(contact("eve", on_duty=False))
    await world.handle(triggered())
    (end,) = world.events()
    assert isinstance(end, m.EscalationEnded)
    assert [(one.user_id, one.because.value) for one in end.not_asked] == [("eve", "off_duty")]
