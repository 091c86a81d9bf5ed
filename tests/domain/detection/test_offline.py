"""Offline units and gateways: which alert is raised when."""

from __future__ import annotations

import msgspec
import pytest

from domain.detection.aggregate_numbers import grading
from domain.detection.offline import Group, apply, decide, group_of, in_maintenance, judged_from_ms, offline_at_ms
from domain.identity import alert_id
from schemas import messages as m

MINUTE = 60_000
START = 1_795_000_000_000


def unit(unit_id: str, gateway_id: str | None = "g", maintenance: tuple[int, int] | None = None) -> m.UnitConfig:
    windows = () if maintenance is None else (m.MaintenanceWindow(START + maintenance[0], START + maintenance[1]),)
    return m.UnitConfig(
        unit_id=unit_id,
        organization_id="org",
        name=unit_id,
        gateway_id=gateway_id,
        expected_interval_s=300,
        offline_after_missed=3,
        maintenance=windows,
    )


class Course:
    """One group's way through events and time; `told` has (minute, what, unit)."""

    def __init__(self, *units: m.UnitConfig) -> None:
        self.units = units
        self.name = group_of(units[0])
        self.group = Group()
        self.offset = 0
        self.alerts: list[m.Alert] = []

    def silent(self, unit_id: str, since_minute: float, at_minute: float) -> None:
        event = m.UnitOffline(
            unit_id=unit_id,
            organization_id="org",
            group=self.name,
            since_at_ms=START + int(since_minute * MINUTE),
            at_ms=START + int((since_minute + 15) * MINUTE),
        )
        self._take(event, at_minute)

    def heard(self, unit_id: str, at_minute: float, because: str = "recovered") -> None:
        at_ms = START + int(at_minute * MINUTE)
        self._take(m.UnitOnline(unit_id=unit_id, group=self.name, at_ms=at_ms, because=because), at_minute)

    def _take(self, event: m.UnitConnectivity, at_minute: float) -> None:
        self.group = apply(self.group, event, self.offset, START + int(at_minute * MINUTE), self.alerts)
        self.offset += 1
        self.wait(at_minute)

    def wait(self, until_minute: float) -> None:
        self.group, due = decide(self.group, self.units, START + int(until_minute * MINUTE))
        self.alerts += due

    def told(self) -> list[tuple[str, str, str]]:
        return [(type(alert).__name__.removeprefix("Alert"), alert.kind, alert.unit_id) for alert in self.alerts]


def test_a_unit_has_missed_its_interval_after_k_of_them() -> None:
    assert offline_at_ms(unit("u"), START) == START + 15 * MINUTE


def test_after_an_outage_a_unit_has_two_intervals_to_be_heard() -> None:
    assert judged_from_ms(unit("u"), START) == START + 10 * MINUTE


def test_a_unit_without_a_gateway_is_told_at_once_and_resolved_when_heard() -> None:
    course = Course(unit("u", None))
    course.silent("u", 0, 15.1)
    course.heard("u", 40)
    course.wait(60)
    assert course.told() == [("Triggered", "sensor_offline", "u"), ("Resolved", "sensor_offline", "u")]
    begun, ended = course.alerts
    assert begun.alert_id == ended.alert_id == alert_id("u", "sensor_offline", START)
    assert (begun.started_at_ms, begun.at_ms, begun.severity) == (START, START + 15 * MINUTE, m.Severity.WARNING)


def test_the_only_unit_of_a_gateway_is_told_as_a_sensor() -> None:
    course = Course(unit("u"))
    course.silent("u", 0, 15.1)
    assert course.told() == [("Triggered", "sensor_offline", "u")]


def test_a_gateway_all_of_whose_units_fall_silent_within_an_interval_is_one_alert() -> None:
    course = Course(unit("b"), unit("a"), unit("c"))
    course.silent("c", 0, 15.1)
    course.wait(17)
    course.silent("b", 2, 17.1)
    course.silent("a", 4, 19.1)
    course.wait(200)
    assert course.told() == [("Triggered", "gateway_offline", "a")]
    (alert,) = course.alerts
    assert (alert.started_at_ms, alert.at_ms) == (START + 4 * MINUTE, START + 19 * MINUTE)
    assert alert.alert_id == alert_id("a", "gateway_offline", START + 4 * MINUTE)


def test_one_silent_unit_among_others_is_told_after_one_more_interval() -> None:
    course = Course(unit("a"), unit("b"))
    course.silent("a", 0, 15.1)
    course.wait(20.4)
    assert course.told() == []
    course.wait(20.5)
    assert course.told() == [("Triggered", "sensor_offline", "a")]
    course.silent("b", 30, 45.1)
    assert course.told()[1:] == [("Triggered", "gateway_offline", "a")]


def test_units_of_a_gateway_that_came_back_get_their_time_anew() -> None:
    course = Course(unit("a"), unit("b"))
    course.silent("a", 0, 15.1)
    course.silent("b", 0, 15.1)
    course.heard("a", 60)
    course.wait(74.9)
    assert course.told() == [("Triggered", "gateway_offline", "a"), ("Resolved", "gateway_offline", "a")]
    course.wait(75.1)
    assert course.told()[2:] == [("Triggered", "sensor_offline", "b")]


def test_a_removed_unit_ends_its_alert_but_not_that_of_its_gateway() -> None:
    course = Course(unit("a"), unit("b"))
    course.silent("a", 0, 15.1)
    course.silent("b", 0, 15.1)
    course.heard("a", 60, "unit removed")
    course.units = course.units[1:]
    assert course.told() == [("Triggered", "gateway_offline", "a")]
    course.heard("b", 61, "unit removed")
    assert course.told()[1:] == [("Resolved", "gateway_offline", "a")]


@pytest.mark.parametrize("gateway", [None, "g"])
def test_silence_in_a_maintenance_window_is_recorded_and_pages_when_it_outlasts_it(gateway: str | None) -> None:
    window = (10 * MINUTE, 30 * MINUTE)
    course = Course(*(unit(name, gateway, window) for name in ("a", "b")[: 2 if gateway else 1]))
    for config in course.units:
        course.silent(config.unit_id, 0, 15.1)
    course.wait(29.9)
    (alert,) = course.alerts
    assert isinstance(alert, m.AlertTriggered)
    assert (alert.paging, alert.silent_because) == (False, "maintenance window")
    assert course.group.undecided
    course.wait(30)
    course.wait(31)
    assert [type(alert) for alert in course.alerts] == [m.AlertTriggered, m.SeverityRaised]
    assert not course.group.undecided


def test_a_record_that_the_group_contains_changes_nothing() -> None:
    course = Course(unit("u", None))
    course.silent("u", 0, 15.1)
    course.heard("u", 16)
    before = course.group
    course.offset = 0
    course.silent("u", 0, 15.1)
    assert course.group == before
    assert len(course.alerts) == 2


def test_a_decision_that_was_not_stored_is_made_again_with_the_same_id() -> None:
    course = Course(unit("a"), unit("b"))
    course.silent("a", 0, 15.1)
    stored = course.group
    course.wait(21)
    course.group = stored
    course.wait(25)
    first, again = course.alerts
    assert first == again


def test_the_severity_and_the_delay_of_an_offline_alert_are_the_units_own() -> None:
    config = msgspec.structs.replace(unit("u", None), offline_severity=m.Severity.CRITICAL, offline_delay_s=600)
    assert offline_at_ms(config, START) == START + 25 * MINUTE
    course = Course(config)
    course.silent("u", 0, 25.1)
    course.heard("u", 40)
    assert [alert.severity for alert in course.alerts] == [m.Severity.CRITICAL, m.Severity.CRITICAL]


def test_a_gateways_alert_has_the_highest_severity_among_its_units() -> None:
    lesser = msgspec.structs.replace(unit("a"), offline_severity=m.Severity.INFO)
    course = Course(lesser, msgspec.structs.replace(unit("b"), offline_severity=m.Severity.CRITICAL))
    course.silent("a", 0, 15.1)
    course.silent("b", 0, 15.1)
    assert [alert.severity for alert in course.alerts] == [m.Severity.CRITICAL]


def test_gateways_of_two_organizations_with_one_name_are_two_groups() -> None:
    other = msgspec.structs.replace(unit("b"), organization_id="org-2")
    assert group_of(unit("a")) != group_of(other)


def test_a_unit_is_offline_after_seven_days_whatever_its_interval() -> None:
    config = msgspec.structs.replace(unit("u"), expected_interval_s=31_536_000, offline_after_missed=1_000)
    assert offline_at_ms(config, START) == START + 7 * 24 * 60 * MINUTE
    assert grading(config).vouch_ms == 7 * 24 * 60 * MINUTE


def test_a_maintenance_window_includes_its_start_and_not_its_end() -> None:
    config = unit("u", maintenance=(0, 10))
    assert [in_maintenance(config, START + at) for at in (-1, 0, 9, 10)] == [False, True, True, False]
