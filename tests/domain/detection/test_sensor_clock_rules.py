"""What counts as a wrong clock, from when on, and what the alert about it says."""

import pytest

from domain.detection.offline import offline_at_ms
from domain.detection.sensor_clock import (
    CATCHES_UP_MS,
    StaleReadings,
    arrived,
    decide,
    ended,
    offset_in_words,
    still_arrive,
)
from schemas import messages as m

MINUTE = 60_000
NOW = 1_795_000_000_000
UNIT = m.UnitConfig(
    unit_id="u", organization_id="org-1", name="Fridge", expected_interval_s=300, offline_after_missed=3
)


def stale(**fields: object) -> StaleReadings:
    known: dict[str, object] = {
        "organization_id": "org-1",
        "live_at_ms": NOW,
        "since_at_ms": NOW,
        "arrived_at_ms": NOW,
        "arrivals": 1,
        "offset_ms": -60 * MINUTE,
    }
    return StaleReadings(**(known | fields))  # type: ignore[arg-type]


def test_arrivals_are_counted_and_the_largest_offset_is_kept() -> None:
    found = None
    for number, offset_ms in enumerate((-60, -59, -61, -60)):
        found = arrived(found, "org-1", NOW, NOW + number * MINUTE, NOW + (number + offset_ms) * MINUTE)
    assert found == stale(arrived_at_ms=NOW + 3 * MINUTE, arrivals=4, offset_ms=-61 * MINUTE)


def test_a_device_that_catches_up_begins_anew_unless_its_alert_is_open() -> None:
    newest_ms = NOW + MINUTE - (60 * MINUTE - CATCHES_UP_MS) + 1
    again = arrived(stale(arrivals=5), "org-1", NOW, NOW + MINUTE, newest_ms)
    assert (again.since_at_ms, again.arrivals) == (NOW + MINUTE, 1)
    assert arrived(stale(arrivals=5), "org-1", NOW, NOW + MINUTE, newest_ms - 1).arrivals == 6
    assert arrived(stale(arrivals=5, announced=True), "org-1", NOW, NOW + MINUTE, newest_ms).arrivals == 6


def test_one_stray_repetition_does_not_put_off_that_a_unit_is_offline() -> None:
    due_ms = offline_at_ms(UNIT, NOW)
    assert not still_arrive(stale(), UNIT, due_ms - 1)
    assert still_arrive(stale(arrivals=2), UNIT, due_ms - 1)
    assert not still_arrive(stale(arrivals=2), UNIT, due_ms)


def test_the_alert_begins_when_the_unit_would_count_as_offline() -> None:
    due_ms = offline_at_ms(UNIT, NOW)
    assert decide("u", stale(), UNIT, 0, due_ms - 1) == (stale(), [])
    assert decide("u", stale(), UNIT, due_ms + 1, due_ms) == (stale(), [])
    after, (alert,) = decide("u", stale(), UNIT, 0, due_ms)
    assert after == stale(announced=True, paging=True, severity=UNIT.offline_severity)
    assert isinstance(alert, m.AlertTriggered)
    assert (alert.at_ms, alert.clock_offset_s, alert.paging, alert.silent_because) == (due_ms, -3_600, True, None)
    assert decide("u", after, UNIT, 0, due_ms + 1) == (after, [])


def test_an_alert_that_began_in_maintenance_pages_once_it_is_over() -> None:
    due_ms = offline_at_ms(UNIT, NOW)
    window = m.MaintenanceWindow(starts_at_ms=NOW, ends_at_ms=due_ms + MINUTE)
    serviced = m.UnitConfig(
        unit_id="u",
        organization_id="org-1",
        name="Fridge",
        expected_interval_s=300,
        offline_after_missed=3,
        maintenance=(window,),
    )
    silent, (begun,) = decide("u", stale(), serviced, 0, due_ms)
    assert isinstance(begun, m.AlertTriggered)
    assert (begun.paging, begun.silent_because) == (False, "maintenance window")
    assert decide("u", silent, serviced, 0, due_ms + 1) == (silent, [])
    after, (raised,) = decide("u", silent, serviced, 0, due_ms + MINUTE)
    assert after.paging
    assert isinstance(raised, m.SeverityRaised)
    assert (raised.alert_id, raised.at_ms, raised.clock_offset_s) == (begun.alert_id, due_ms + MINUTE, -3_600)


def test_only_an_announced_alert_ends() -> None:
    assert ended("u", None, NOW) == []
    assert ended("u", stale(), NOW) == []
    (alert,) = ended("u", stale(announced=True), NOW + 5)
    assert isinstance(alert, m.AlertResolved)
    assert (alert.at_ms, alert.because, alert.clock_offset_s) == (NOW + 5, "recovered", -3_600)


@pytest.mark.parametrize(
    ("offset_s", "words"),
    [
        (-59, "59 s behind"),
        (0, "0 s ahead"),
        (60, "1 min ahead"),
        (-3_599, "59 min behind"),
        (3_600, "1 h ahead"),
        (-86_399, "23 h behind"),
        (86_400, "1 d ahead"),
    ],
)
def test_an_offset_is_said_in_the_largest_unit_that_fits(offset_s: int, words: str) -> None:
    assert offset_in_words(offset_s) == words
