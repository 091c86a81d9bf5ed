from __future__ import annotations

import msgspec
import pytest

from schemas import messages as m
from tests.streams.fakes import NOW_MS
from tests.streams.notifications.escalation_world import (
    AGAIN_MS,
    GOING_ON,
    LAPSE_MS,
    LOOK_AGAIN_MS,
    WAIT_MS,
    World,
    acknowledge,
    contact,
    escalated,
    resolved,
    silence,
    triggered,
)

pytestmark = pytest.mark.anyio


async def test_each_contact_of_the_first_level_gets_one_request_in_the_lane_of_the_severity() -> None:
    world = World()
    await world.handle(triggered(m.Severity.WARNING))
    assert [request.user_id for request in world.requests("sms-warning")] == ["ada", "ben"]
    assert world.requests("sms-critical") == []


async def test_the_text_is_in_the_unit_of_the_organization() -> None:
    world = World()
    await world.handle(triggered())
    assert "Vaccines" in world.requests()[0].text
    assert "50.0 F" in world.requests()[0].text


async def test_the_next_step_is_due_15_minutes_later() -> None:
    world = World()
    await world.handle(triggered())
    timer = world.timer()
    assert timer is not None
    assert (timer.due_at_ms, timer.topic, timer.key) == (NOW_MS + WAIT_MS, "escalations", b"unit-1")


async def test_a_crash_before_the_state_was_written_makes_the_same_requests_and_one_timer() -> None:
    world = World()
    await world.twice(triggered())
    ids = [request.request_id for request in world.requests()]
    assert ids[:2] == ids[2:]
    assert len(set(ids)) == 2
    assert len(world.timer_table.rows) == 1


async def test_an_alert_that_is_read_again_tells_nobody_and_its_state_is_written_again() -> None:
    world = World()
    await world.handle(triggered())
    world.now_ms += 60_000
    before = world.state()
    await world.handle(triggered())
    assert len(world.requests()) == 2
    assert world.state().escalation == before.escalation
    assert world.state().version == before.version + 1


async def test_with_nobody_at_the_first_level_the_next_one_is_told_of_a_breach_and_not_reminded() -> None:
    world = World(contact("carl", 2), contact("dora", 3), contact("ada", on_duty=False))
    await world.handle(triggered())
    assert world.notified() == [("carl", 2)]
    assert world.requests()[0].text.startswith("CRITICAL")


async def test_with_nobody_on_duty_that_is_said_once_and_the_person_who_comes_later_is_paged() -> None:
    world = World(contact("ada", on_duty=False))
    await world.handle(triggered(m.Severity.WARNING))
    (end,) = world.events()
    assert isinstance(end, m.EscalationEnded)
    assert (end.because, end.level) == ("nobody_on_duty", 1)
    await world.later(LOOK_AGAIN_MS)
    assert len(world.events()) == 1
    world.staff(contact("eve"))
    await world.later(LOOK_AGAIN_MS)
    assert [request.user_id for request in world.requests("sms-warning")] == ["eve"]
    assert world.requests("sms-warning")[0].text.startswith("WARNING")


async def test_a_critical_alert_that_nobody_answers_pages_again_every_half_hour_and_says_so() -> None:
    world = World(contact("ada"), times=GOING_ON)
    await world.handle(triggered())
    await world.later()
    await world.later()
    assert [request.level for request in world.requests()] == [1, 2]
    await world.later(AGAIN_MS)
    again = world.requests()[-1]
    assert (again.level, again.round) == (1, 1)
    assert "Nobody answered yet." in again.text
    assert len({request.request_id for request in world.requests()}) == 3
    await world.handle(acknowledge())
    await world.later(AGAIN_MS)
    assert len(world.requests()) == 3


async def test_an_organization_may_give_its_people_less_time_to_answer_than_the_deployment_does() -> None:
    world = World(own_wait_s=60)
    await world.handle(triggered())
    await world.later(60_000)
    assert [request.level for request in world.requests()] == [1, 1, 2]


async def test_an_acknowledgement_that_lapsed_pages_again_and_says_so() -> None:
    world = World(contact("ada"), times=GOING_ON)
    await world.handle(triggered())
    await world.handle(acknowledge())
    await world.later(LAPSE_MS)
    assert [request.round for request in world.requests()] == [0, 1]
    assert "The acknowledgement lapsed." in world.requests()[-1].text
    await world.handle(resolved())
    await world.later(LAPSE_MS)
    assert len(world.requests()) == 2


async def test_the_end_of_a_critical_alert_is_sent_once_to_whoever_was_paged() -> None:
    world = World(all_clear="critical")
    await world.handle(triggered())
    await world.later()
    await world.handle(resolved())
    await world.handle(resolved())
    sent = [request for request in world.requests() if request.all_clear]
    assert [request.user_id for request in sent] == ["ada", "ben", "carl"]
    assert all(request.text.startswith("RESOLVED") for request in sent)


async def test_the_end_of_a_warning_is_sent_to_nobody_unless_that_is_wanted() -> None:
    world = World(all_clear="critical")
    await world.handle(triggered(m.Severity.WARNING))
    await world.handle(msgspec.structs.replace(resolved(), severity=m.Severity.WARNING))
    assert not any(request.all_clear for request in world.requests("sms-warning"))


async def test_a_silent_alert_asks_for_nothing_until_it_begins_to_page() -> None:
    world = World()
    await world.handle(triggered(paging=False))
    assert world.broker.published == []
    assert world.timer() is None
    await world.handle(escalated())
    assert world.notified() == [("ada", 1), ("ben", 1)]
    assert world.timer() is not None


async def test_a_higher_severity_is_told_to_the_first_level_once_and_the_clock_goes_on() -> None:
    world = World()
    await world.handle(triggered(m.Severity.WARNING))
    world.now_ms += 60_000
    await world.twice(escalated(former=m.Severity.WARNING))
    await world.handle(escalated(former=m.Severity.WARNING))
    assert world.notified() == [("ada", 1), ("ben", 1)] * 2
    assert world.requests()[0].text.startswith("NOW CRITICAL")
    timer = world.timer()
    assert timer is not None
    assert timer.due_at_ms == NOW_MS + WAIT_MS


async def test_the_trigger_that_is_read_again_after_a_higher_severity_does_not_lower_it() -> None:
    world = World()
    await world.handle(triggered(m.Severity.WARNING), escalated(former=m.Severity.WARNING))
    await world.handle(triggered(m.Severity.WARNING))
    await world.later()
    assert [request.user_id for request in world.requests("sms-warning")] == ["ada", "ben"]
    assert [request.user_id for request in world.requests("sms-critical")] == ["ada", "ben", "carl"]


async def test_the_end_of_the_alert_cancels_the_timer_and_nothing_begins_anew_after_it() -> None:
    world = World()
    await world.handle(triggered())
    await world.handle(resolved())
    assert world.timer() is None
    await world.handle(triggered(), escalated())
    assert world.timer() is None
    assert len(world.requests()) == 2
    assert world.state().alert is None


async def test_trigger_and_end_in_one_batch_tell_of_the_breach_and_leave_no_timer() -> None:
    world = World()
    await world.twice(triggered(), resolved())
    assert world.notified() == [("ada", 1), ("ben", 1)]
    assert world.timer() is None


async def test_an_acknowledgement_that_came_before_its_alert_holds() -> None:
    world = World()
    await world.handle(acknowledge())
    await world.handle(triggered())
    assert world.notified() == []
    assert world.timer() is None


async def test_an_alert_that_was_silenced_before_it_was_read_is_told_of_afterwards() -> None:
    world = World()
    await world.handle(silence(NOW_MS + 60_000))
    await world.handle(triggered())
    assert world.notified() == []
    await world.later(60_000)
    assert world.notified() == [("ada", 1), ("ben", 1)]
    assert all(request.text.startswith("CRITICAL") for request in world.requests())


async def test_a_new_contact_is_told_from_the_next_alert_on() -> None:
    world = World(contact("ada"))
    await world.handle(triggered())
    world.staff(contact("ada"), contact("new"))
    await world.handle(msgspec.structs.replace(triggered(), alert_id="alert-2"))
    assert [request.user_id for request in world.requests()] == ["ada", "ada", "new"]


async def test_an_unreadable_alert_is_a_dead_letter_and_stops_nobody() -> None:
    world = World()
    await world.handle(b"{}", triggered())
    assert len(world.requests()) == 2
    (letter,) = world.broker.decoded("sms-dlq", m.UnreadableRecord)
    assert (letter.topic, letter.offset) == ("alerts", 0)
