"""Sensors whose readings arrive with wrong times, with the fakes of the offline check."""

from __future__ import annotations

import pytest

from domain.detection.sensor_clock import offset_in_words
from schemas import messages as m
from tests.streams.detection.test_offline_units import MINUTE, START, World, unit

pytestmark = pytest.mark.anyio

HOUR = 60 * MINUTE


def clocked(**more: object) -> m.UnitConfig:
    """A unit that measures every five minutes and counts as offline after three missed intervals."""
    return unit("u0", live_window_s=900, **more)


async def send(world: World, *, until: int, offset_ms: int, start: int = 0, celsius: float = 20.0) -> None:
    """A reading every five minutes whose time is off by `offset_ms`, and a look after each."""
    for minute in range(start, until, 5):
        world.now_ms = START + minute * MINUTE
        await world.read("u0", world.now_ms + offset_ms, celsius)
        await world.look_after(minute)


def clock_alerts(world: World) -> list[m.Alert]:
    return [alert for alert in world.alerts() if alert.kind is m.AlertKind.SENSOR_CLOCK]


@pytest.mark.parametrize("offset_ms", [-HOUR, 2 * HOUR, -START + 1_000])
async def test_a_clock_that_is_wrong_raises_its_own_alert_once_and_not_that_of_being_offline(offset_ms: int) -> None:
    world = World(clocked(offline_severity=m.Severity.CRITICAL))
    await send(world, until=15, offset_ms=offset_ms)
    assert clock_alerts(world) == []
    await send(world, start=15, until=60, offset_ms=offset_ms)
    (alert,) = clock_alerts(world)
    assert isinstance(alert, m.AlertTriggered)
    assert (alert.paging, alert.severity, alert.clock_offset_s) == (True, m.Severity.CRITICAL, offset_ms // 1000)
    assert world.connectivity() == []


async def test_the_next_new_and_live_reading_ends_it_also_in_a_new_process() -> None:
    world = World(clocked())
    await send(world, until=30, offset_ms=-HOUR)
    world.start()
    await send(world, start=30, until=40, offset_ms=0)
    assert [type(alert).__name__ for alert in clock_alerts(world)] == ["AlertTriggered", "AlertResolved"]
    await send(world, start=40, until=50, offset_ms=-HOUR)
    assert len(clock_alerts(world)) == 2


async def test_the_same_reading_again_and_again_is_a_wrong_clock() -> None:
    world = World(clocked())
    for minute in range(0, 40, 5):
        world.now_ms = START + minute * MINUTE
        await world.read("u0", START)
        await world.look_after(minute)
    assert [type(alert).__name__ for alert in clock_alerts(world)] == ["AlertTriggered"]


async def test_one_stray_repetition_does_not_put_off_that_a_unit_is_offline() -> None:
    world = World(clocked())
    await world.read("u0", START)
    world.now_ms = START + 14 * MINUTE
    await world.read("u0", START)
    await world.look_after(15)
    (event,) = world.connectivity()
    assert isinstance(event, m.UnitOffline)
    assert event.since_at_ms == START


async def test_old_readings_do_not_bring_a_unit_back_online() -> None:
    world = World(clocked())
    await world.read("u0", START)
    await world.look_after(20)
    await world.read("u0", START + MINUTE)
    assert [type(event) for event in world.connectivity()] == [m.UnitOffline]
    await world.read("u0", START + 20 * MINUTE)
    assert [type(event) for event in world.connectivity()] == [m.UnitOffline, m.UnitOnline]


async def test_a_backlog_that_comes_closer_to_the_present_is_no_wrong_clock() -> None:
    world = World(clocked())
    for step in range(12):
        world.now_ms = START + step * 5 * MINUTE
        await world.read("u0", world.now_ms - 10 * HOUR + step * HOUR // 2)
        await world.look_after(step * 5)
    assert clock_alerts(world) == []


async def test_a_sensor_that_stops_altogether_ends_the_alert_about_its_clock_and_is_offline() -> None:
    world = World(clocked())
    await send(world, until=30, offset_ms=-HOUR)
    await world.look_after(50)
    ended = clock_alerts(world)[-1]
    assert isinstance(ended, m.AlertResolved)
    assert ended.because == "no more readings arrive"
    assert [type(event) for event in world.connectivity()] == [m.UnitOffline]


async def test_a_removed_unit_ends_the_alert_about_its_clock() -> None:
    world = World(clocked(), unit("u2"))
    await send(world, until=30, offset_ms=-HOUR)
    world.units.remove("u0")
    await world.look_after(31)
    ended = clock_alerts(world)[-1]
    assert isinstance(ended, m.AlertResolved)
    assert ended.because == "unit removed"


async def test_in_a_maintenance_window_it_is_recorded_and_pages_when_it_outlasts_it() -> None:
    window = m.MaintenanceWindow(START, START + 32 * MINUTE)
    world = World(clocked(maintenance=(window,)))
    await send(world, until=30, offset_ms=-HOUR)
    (alert,) = clock_alerts(world)
    assert isinstance(alert, m.AlertTriggered)
    assert not alert.paging
    await send(world, start=30, until=50, offset_ms=-HOUR)
    assert [type(alert) for alert in clock_alerts(world)] == [m.AlertTriggered, m.SeverityRaised]


@pytest.mark.parametrize(
    ("offset_s", "words"),
    [(-59, "59 s behind"), (60, "1 min ahead"), (-3_600, "1 h behind"), (86_400, "1 d ahead")],
)
def test_an_offset_in_words(offset_s: int, words: str) -> None:
    assert offset_in_words(offset_s) == words
