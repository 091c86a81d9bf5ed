"""Numbers, times and periods in words, as mails and reports show them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, assert_never

from domain.digest.cadences import CADENCES, ONE_DAY
from domain.digest.schedule import zone
from domain.temperatures import apart, number
from schemas import messages as m

if TYPE_CHECKING:
    from domain.digest.schedule import Period

# A figure and its unit stay on one line.
NBSP = "\N{NO-BREAK SPACE}"
NOTHING = "–"  # noqa: RUF001


def subject(cadence: m.Cadence, organization_name: str) -> str:
    """One line of at most 150 characters, whatever the organization calls itself."""
    name = " ".join(organization_name.split()) or "your units"
    return f"{CADENCES[cadence].title} - {name}"[:150]


def problem(kind: m.AlertKind) -> str:
    match kind:
        case m.AlertKind.TEMPERATURE_HIGH:
            return "too warm"
        case m.AlertKind.TEMPERATURE_LOW:
            return "too cold"
        case m.AlertKind.SENSOR_OFFLINE:
            return "sensor offline"
        case m.AlertKind.GATEWAY_OFFLINE:
            return "gateway offline"
        case m.AlertKind.SENSOR_CLOCK:
            return "sensor clock wrong"
        case _:
            assert_never(kind)


def temperature(celsius: float | None, display_unit: str, beside_c: float | None = None) -> str:
    """In °C or °F; a dash for null. One decimal, or as many as tell it from `beside_c`, a limit that it broke."""
    if celsius is None:
        return NOTHING
    return f"{number(celsius, display_unit, apart(celsius, beside_c, display_unit))}{NBSP}°{display_unit}"


def limits(high_c: float | None, low_c: float | None, display_unit: str) -> str:
    if high_c is None and low_c is None:
        return "no limits"
    if high_c is None:
        return f"at least {temperature(low_c, display_unit)}"
    if low_c is None:
        return f"at most {temperature(high_c, display_unit)}"
    return f"{temperature(low_c, display_unit)} to {temperature(high_c, display_unit)}"


def duration(ms: int) -> str:
    """To the minute, or to the second below five minutes: 2 d 3 h, 1 h 05 min, 12 min, 3 min 20 s."""
    seconds = (ms + 500) // 1000
    if seconds < 60:
        return _spaced(f"{seconds} s") if seconds else "none"
    if seconds < 300:
        return _spaced(f"{seconds // 60} min" + (f" {seconds % 60} s" if seconds % 60 else ""))
    minutes = (seconds + 30) // 60
    if minutes < 60:
        return _spaced(f"{minutes} min")
    if minutes < 48 * 60:
        return _spaced(f"{minutes // 60} h" + (f" {minutes % 60:02} min" if minutes % 60 else ""))
    hours = minutes // 60
    return _spaced(f"{hours // 24} d" + (f" {hours % 24} h" if hours % 24 else ""))


def _spaced(text: str) -> str:
    return text.replace(" ", NBSP)


def percent(part: float) -> str:
    """Truncated, not rounded: only the whole is 100 %."""
    tenths = int(part * 1000 + 1e-9)
    return _spaced(f"{tenths // 10} %" if tenths % 10 == 0 else f"{tenths / 10} %")


def count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def moment(at_ms: int, timezone: str) -> str:
    return f"{_local(at_ms, timezone):%a %-d %b, %H:%M}"


def stretch(starts_at_ms: int, ends_at_ms: int, timezone: str) -> str:
    """From one instant to another; a shared date stands once."""
    begin, end = _local(starts_at_ms, timezone), _local(ends_at_ms, timezone)
    if begin.date() == end.date():
        return f"{begin:%a %-d %b, %H:%M}–{end:%H:%M}"  # noqa: RUF001
    return f"{begin:%a %-d %b, %H:%M} – {end:%a %-d %b, %H:%M}"  # noqa: RUF001


def _local(at_ms: int, timezone: str) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone(timezone))


def period_name(period: Period) -> str:
    return CADENCES[period.cadence].name(period.first, period.until - ONE_DAY)


def clock_change(period: Period) -> str | None:
    """A note for a day that is not 24 hours long; null otherwise."""
    hours = period.length_ms / 3_600_000
    if period.until - period.first != ONE_DAY or hours == 24:
        return None
    return f"The clocks changed: this day had {hours:g} hours."
