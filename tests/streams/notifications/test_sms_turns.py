"""Who is sent to now, later or never: rate windows, reminders, caps, lanes, and a provider that is down."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from domain.notification.answers import NoAnswer, Unanswered
from domain.notification.replies import ack_code
from domain.notification.request_state import RequestState
from schemas import messages as m
from streams.notifications.rate_limiter import Limits
from streams.notifications.telnyx.codes import refused
from tests.streams.fakes import NOW_MS, FakeBatch
from tests.streams.notifications.sms_world import ADA, BEN, World, request, sms_policy

if TYPE_CHECKING:
    from streams.engine.interfaces import Slot

pytestmark = pytest.mark.anyio

NO_WINDOW = sms_policy(window_ms=0)
STRICT = sms_policy(strict=True)
WARNING = m.Severity.WARNING
WITH_RECEIPTS = sms_policy(receipts=True)
WINDOW_MS = 900_000


async def test_with_the_strict_rule_the_second_sms_of_a_kind_is_limited_and_not_tried_again() -> None:
    world = World(policy=STRICT)
    await world.handle(request(1), request(2))
    assert world.texts == ["text 1"]
    assert world.outcomes_of(2) == ["rate_limited"]
    assert world.retries() == []


@pytest.mark.parametrize(("later_ms", "sent"), [(WINDOW_MS - 1, 1), (WINDOW_MS, 2)])
async def test_the_window_ends_to_the_millisecond(later_ms: int, sent: int) -> None:
    world = World(policy=STRICT)
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


async def test_a_limited_reminder_of_a_warning_waits_for_the_window() -> None:
    world = World()
    await world.handle(request(1, severity=WARNING), request(2, level=2, severity=WARNING))
    (retry,) = world.retries()
    assert (retry.due_at_ms, retry.request.attempts) == (NOW_MS + WINDOW_MS, 0)


async def test_a_warning_never_limits_a_critical_sms_but_the_reverse() -> None:
    world = World()
    await world.handle(request(1, severity=WARNING))
    await world.handle(request(2))
    await world.handle(request(3, severity=WARNING))
    assert world.texts == ["text 1", "text 2"]
    assert world.outcomes_of(3) == ["retry_scheduled", "rate_limited"]


async def test_with_the_strict_rule_a_warning_limits_a_critical_sms() -> None:
    world = World(policy=STRICT)
    await world.handle(request(1, severity=WARNING))
    await world.handle(request(2))
    assert world.outcomes_of(2) == ["rate_limited"]


async def come_back(world: World) -> None:
    """Time goes on until the first retry is due, and those that are due then come back."""
    waiting = {r.request.request_id: r for r in world.retries() if not world.state(r.request.request_id).settled}
    world.now_ms = max(world.now_ms, min(retry.due_at_ms for retry in waiting.values()))
    await world.handle(*(r.request for r in waiting.values() if r.due_at_ms <= world.now_ms))


async def test_critical_alerts_of_other_units_are_gathered_into_one_sms_that_names_all() -> None:
    world = World()
    await world.handle(request(1), request(2, label="Vaccines 9.1 C"))
    world.now_ms += 5_000
    await world.handle(request(3, label="Milk 8.4 C"))
    await come_back(world)
    assert world.now_ms == NOW_MS + 20_000
    codes = {n: ack_code(f"alert-{n}", "user-1") for n in (2, 3)}
    combined = f"CRITICAL, 2 alerts: Vaccines 9.1 C (ACK {codes[2]}), Milk 8.4 C (ACK {codes[3]})"
    assert world.texts == ["text 1", combined]
    assert world.outcomes_of(3)[-1] == "named"
    assert world.state("request-3") is RequestState.SENT
    # Either code acknowledges its own alert.
    slot = cast("Slot", FakeBatch([]))
    assert {alert.alert_id for alert in world.ledger.notified(slot, "user-1", world.now_ms)} >= {"alert-2", "alert-3"}
    # What comes back later is settled.
    await world.handle(request(3))
    assert len(world.provider.got) == 2


async def test_at_most_four_critical_sms_leave_in_a_window_and_the_next_person_is_asked_about_the_rest() -> None:
    world = World()
    for number in range(1, 5):
        await world.handle(request(number))
        world.now_ms += 60_000
        if number > 1:
            await world.handle(world.retries()[-1].request)
    assert len(world.provider.got) == 4
    assert world.broker.decoded("escalations", m.PageUndelivered) == []
    await world.handle(request(5, label="Milk 8.4 C"), request(6, label="Eggs 7.0 C"))
    undelivered = world.broker.decoded("escalations", m.PageUndelivered)
    assert [(event.alert_id, event.because) for event in undelivered] == [("alert-5", "rate_limited")] + [
        ("alert-6", "rate_limited")
    ] * (len(undelivered) - 1)
    assert len(world.provider.got) == 4
    await come_back(world)
    assert world.now_ms == NOW_MS + WINDOW_MS
    assert world.texts[4].startswith("CRITICAL, 2 alerts: Milk 8.4 C (ACK ")
    assert len(world.provider.got) == 5


async def test_the_roll_up_of_warnings_names_all_at_the_windows_end_and_says_what_is_over() -> None:
    world = World()
    labels = {2: "Milk 8.4 C", 3: "Eggs 7.0 C", 4: "Fish 6.0 C"}
    await world.handle(request(1, severity=WARNING))
    await world.handle(*(request(n, severity=WARNING, label=text) for n, text in labels.items()))
    world.closed.closed |= {"alert-2": "resolved", "alert-4": "acknowledged"}
    await come_back(world)
    assert world.now_ms == NOW_MS + WINDOW_MS
    code = ack_code("alert-3", "user-1")
    assert world.texts == ["text 1", f"WARNING, 2 alerts: Milk 8.4 C (over), Eggs 7.0 C (ACK {code})"]
    assert [world.outcomes_of(n)[-1] for n in (2, 3, 4)] == ["sent", "named", "cancelled"]


async def test_a_reminder_never_uses_up_the_window_of_a_first_page() -> None:
    world = World()
    await world.handle(request(1, level=2))
    await world.handle(request(2))
    assert world.texts == ["text 1", "text 2"]


async def test_a_first_page_long_after_the_breach_says_when_it_was_unless_it_is_over() -> None:
    world = World()
    world.now_ms += 300_000
    world.closed.closed["alert-2"] = "resolved"
    await world.handle(request(1, text="CRITICAL: fridge. Reply ACK 4821"), request(2, "user-2"))
    when = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    assert world.texts == [f"CRITICAL: fridge. (at {when:%H:%M} UTC) Reply ACK 4821"]
    (retry,) = world.retries()
    world.now_ms = retry.due_at_ms
    await world.handle(retry.request)
    assert world.outcomes_of(2)[-1] == "cancelled"
    assert len(world.texts) == 1


async def test_what_ended_in_an_outage_is_a_line_of_the_next_sms_and_sends_none_of_its_own() -> None:
    world = World()
    world.now_ms += 300_000
    world.closed.closed["alert-1"] = "resolved"
    await world.handle(request(1, label="Milk 8.4 C"), request(2, label="Vaccines 9.1 C"))
    (text,) = world.texts
    assert "Milk 8.4 C (over)" in text
    assert "Vaccines 9.1 C (ACK" in text
    (retry,) = world.retries()
    world.now_ms = retry.due_at_ms
    await world.handle(retry.request)
    assert len(world.texts) == 1
    assert world.outcomes_of(1)[-1] == "named"


async def test_what_a_person_orders_now_passes_the_window() -> None:
    world = World()
    await world.handle(request(1), request(2, forced=True))
    assert world.texts == ["text 1", "text 2"]


async def test_the_all_clear_goes_to_whoever_was_paged_whatever_the_window_says() -> None:
    world = World()
    await world.handle(request(1))
    await world.handle(request(7, alert_id="alert-1", all_clear=True, text="RESOLVED"))
    await world.handle(request(8, "user-2", alert_id="alert-1", all_clear=True, text="RESOLVED"))
    assert world.texts == ["text 1", "RESOLVED"]
    assert world.outcomes_of(8) == ["cancelled"]


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


async def test_a_silence_longer_than_the_deadline_does_not_use_it_up() -> None:
    world = World()
    world.closed.closed["alert-1"] = "silenced"
    world.closed.silent_until_ms["alert-1"] = NOW_MS + 5 * 3_600_000
    await world.handle(request(1, level=2))
    (retry,) = world.retries()
    world.now_ms = retry.due_at_ms
    world.closed.closed.clear()
    await world.handle(retry.request)
    assert world.outcomes[-1] == "sent"


async def test_an_organization_waits_at_its_own_cap_and_others_do_not() -> None:
    ada = msgspec.structs.replace(ADA, organization_sms_per_hour=2)
    world = World(policy=NO_WINDOW, people=[ada, msgspec.structs.replace(BEN, organization_id="org-2")])
    warnings = [request(number, severity=m.Severity.WARNING) for number in range(1, 4)]
    await world.handle(*warnings, request(4, "user-2", organization_id="org-2", severity=m.Severity.WARNING))
    assert sorted(world.texts) == ["text 1", "text 2", "text 4"]
    (retry,) = world.retries()
    assert (retry.request.request_id, retry.due_at_ms) == ("request-3", NOW_MS + 3_600_000)


async def test_an_organizations_cap_holds_back_no_critical_message_and_none_that_a_person_orders_now() -> None:
    world = World(policy=NO_WINDOW, people=[msgspec.structs.replace(ADA, organization_sms_per_hour=1)])
    warning = {"severity": m.Severity.WARNING}
    await world.handle(*(request(number) for number in range(1, 4)), request(4, **warning))
    assert sorted(world.texts) == ["text 1", "text 2", "text 3", "text 4"]
    await world.handle(request(5, **warning), request(6, forced=True, **warning))
    assert world.texts[4:] == ["text 6"]


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
