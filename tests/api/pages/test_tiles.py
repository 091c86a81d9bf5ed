"""What tiles say, and in which order they stand."""

from __future__ import annotations

import math

import pytest

from api.pages.live_feed import LINE_MINUTES, UnitNow
from api.pages.tiles import Fact, OpenAlert, Tile, TileState, in_order, site_in_words, tile
from schemas.messages import AlertKind, Severity

MINUTE = 60_000
NOW = 1_795_000_020_000
FRIDGE = Fact(unit_id="u", name="Fridge", site="north", high_c=8.0, low_c=2.0, patience_ms=15 * MINUTE)


def alert(severity: Severity, kind: AlertKind = AlertKind.TEMPERATURE_HIGH, started_at_ms: int = NOW) -> OpenAlert:
    return OpenAlert(alert_id=f"{severity}-{started_at_ms}", kind=kind, severity=severity, started_at_ms=started_at_ms)


def of(temperature_c: float | None = 5.0, *alerts: OpenAlert, age_ms: int | None = 0, name: str = "Fridge") -> Tile:
    at_ms = None if age_ms is None else NOW - age_ms
    fact = Fact(unit_id=name, name=name, site="north", high_c=8.0, low_c=2.0, patience_ms=15 * MINUTE)
    return tile(fact, at_ms, temperature_c if age_ms is not None else None, (), alerts, NOW)


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (of(8.0), TileState.GOOD),
        (of(2.0), TileState.GOOD),
        (of(8.01), TileState.WARM),
        (of(1.99), TileState.WARM),
        # a last value that is too old no longer counts, whatever it was
        (of(20.0, age_ms=15 * MINUTE + 1), TileState.OFFLINE),
        (of(20.0, age_ms=15 * MINUTE), TileState.WARM),
        (of(age_ms=None), TileState.UNKNOWN),
        # an alert goes before what the temperature says
        (of(5.0, alert(Severity.WARNING)), TileState.WARNING),
        (of(9.0, alert(Severity.INFO), alert(Severity.CRITICAL)), TileState.CRITICAL),
        (of(5.0, alert(Severity.WARNING, AlertKind.SENSOR_OFFLINE)), TileState.OFFLINE),
        (of(5.0, alert(Severity.CRITICAL, AlertKind.GATEWAY_OFFLINE)), TileState.CRITICAL),
    ],
)
def test_the_state_of_a_tile(found: Tile, state: TileState) -> None:
    assert found.state is state


def test_of_several_alerts_the_worst_and_then_the_oldest_is_shown() -> None:
    found = of(
        5.0,
        alert(Severity.WARNING, started_at_ms=1),
        alert(Severity.CRITICAL, started_at_ms=9),
        alert(Severity.CRITICAL, started_at_ms=5),
    )
    assert found.alert is not None
    assert (found.alert.alert_id, found.alerts) == ("critical-5", 3)


def test_the_worst_stand_first_and_equals_by_name() -> None:
    tiles = [of(5.0, name="b"), of(9.0, name="c"), of(5.0, name="A"), of(5.0, alert(Severity.CRITICAL), name="d")]
    assert [one.fact.name for one in in_order(tiles)] == ["d", "c", "A", "b"]
    assert site_in_words(tiles) == "2 of 4 need attention"
    assert site_in_words(tiles[::2]) == "all 2 in range"


@pytest.mark.parametrize(
    ("age_ms", "said"), [(0, "now"), (9_999, "now"), (10_000, "10 s ago"), (600_000, "10 min ago"), (-60_000, "now")]
)
def test_the_age_of_a_reading(age_ms: int, said: str) -> None:
    assert of(5.0, age_ms=age_ms).age(NOW).replace("\N{NO-BREAK SPACE}", " ") == said


def test_a_line_has_a_temperature_a_minute_and_gaps_where_nothing_came() -> None:
    unit = UnitNow()
    for minute, celsius in ((0, 4.0), (1, 5.0), (4, 6.0)):
        assert unit.add(NOW + minute * MINUTE, celsius)
    line = unit.line(NOW + 5 * MINUTE)
    assert len(line) == LINE_MINUTES
    assert line[-6:] == [4.0, 5.0, None, None, 6.0, None]
    assert set(line[:-6]) == {None}


def test_an_old_reading_fills_its_minute_and_does_not_become_the_newest() -> None:
    unit = UnitNow()
    unit.add(NOW, 4.0)
    assert not unit.add(NOW - 3 * MINUTE, 7.0)
    assert not unit.add(NOW - LINE_MINUTES * MINUTE, 9.0)
    assert (unit.at_ms, unit.temperature_c) == (NOW, 4.0)
    assert [one for one in unit.line(NOW) if one is not None] == [7.0, 4.0]


def test_after_a_long_gap_nothing_of_before_is_left() -> None:
    unit = UnitNow()
    for minute in range(LINE_MINUTES):
        unit.add(NOW + minute * MINUTE, 4.0)
    unit.add(NOW + 10 * LINE_MINUTES * MINUTE, 5.0)
    assert [one for one in unit.line(NOW + 10 * LINE_MINUTES * MINUTE) if one is not None] == [5.0]
    assert unit.line(NOW + 20 * LINE_MINUTES * MINUTE) == [None] * LINE_MINUTES
    assert not any(map(math.isinf, unit.minutes))
