"""The words of our SMS, in one GSM-7 part each.

Names come from people: they are cleaned, and shortened as far as the rest of the text needs. Temperatures are stored
in °C and shown in the unit of the organization, as "C" or "F": the degree sign is not in GSM-7, and one of it makes a
text of 160 characters two or three times as dear.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, assert_never

from anyascii import anyascii

from domain.detection.sensor_clock import offset_in_words
from domain.notification.replies import ack_code
from domain.notification.sms_segments import GSM7, TWO_UNITS, gsm7_units
from domain.temperatures import apart, number
from schemas import messages as m
from schemas.identity import plain as plain_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ONE_PART = 160
_LONGEST = 1_600
_LABEL_AT_MOST = 30
_SHORTEST_NAME = 8
_ORGANIZATION_AT_LEAST, _ORGANIZATION_AT_MOST = 16, 24

_OWN_WORDS = {"\N{DEGREE SIGN}": "", "\N{MICRO SIGN}": "u", "\N{EURO SIGN}": "EUR"}


def plain(text: str) -> str:
    """`text` in GSM-7 on one line: line breaks and control characters become blanks, other scripts Latin letters.

    Characters that take two units in GSM-7 become simpler ones, so that every character counts as one.
    """
    return " ".join("".join(_plain_characters(text)).split())


def _plain_characters(text: str) -> Iterator[str]:
    for character in unicodedata.normalize("NFC", text):
        if character in _OWN_WORDS:
            yield _OWN_WORDS[character]
        elif character in TWO_UNITS:
            yield {"[": "(", "]": ")", "{": "(", "}": ")", "~": "-", "^": "", "|": "/", "\\": "/"}[character]
        elif character in GSM7 and character not in "\n\r":
            yield character
        elif unicodedata.category(character)[0] in "CZ":
            # Line breaks and tabs part words; what is invisible (direction marks, joiners) vanishes.
            yield "" if unicodedata.category(character) == "Cf" else " "
        else:
            # `anyascii` may answer with characters that take two units.
            yield from (c for c in anyascii(character) if c in GSM7 and c not in TWO_UNITS)


def shortened(text: str, longest: int) -> str:
    """`text` in at most `longest` characters; two dots tell that something is missing."""
    return text if len(text) <= longest else f"{text[: max(longest - 2, 0)].rstrip()}.."[:longest]


def temperature(celsius: float, display_unit: str, decimals: int = 1) -> str:
    """`celsius` as people read it, usually to a tenth: "-18.0 C" or "-0.4 F"."""
    return f"{number(celsius, display_unit, decimals)} {display_unit}"


def breach_text(
    alert: m.AlertTriggered | m.SeverityRaised,
    unit: m.UnitConfig | None,
    user_id: str,
    *,
    level: int = 1,
    note: str = "",
) -> str:
    """What one person reads of a breach; `level` above 1 makes it a reminder, `note` says why it comes again."""
    start = alert.severity.upper() if level == 1 else f"REMINDER {level} {alert.severity.upper()}"
    if isinstance(alert, m.SeverityRaised) and level == 1:
        start = f"NOW {start}"
    end = f"{note and ' '}{note} Reply ACK {ack_code(alert.alert_id, user_id)}"
    return _one_part(start, unit, alert.unit_id, f" {_what(alert, _display_unit(unit))}.{end}")


class Line(NamedTuple):
    """One alert in an SMS that names several; `code` acknowledges it, `over` says that it has ended meanwhile."""

    label: str
    code: str
    over: bool


def label(alert: m.AlertEvent, unit: m.UnitConfig | None) -> str:
    """A unit and what it showed, in a few words: "Vaccines 9.1 C"."""
    name = shortened(plain(unit.name if unit else "") or plain(plain_id(alert.unit_id)) or "unit", _LABEL_AT_MOST)
    if alert.kind is m.AlertKind.SENSOR_CLOCK:
        return f"{name} wrong clock"
    if alert.temperature_c is None or is_offline(alert.kind):
        return f"{name} no readings" if is_offline(alert.kind) else name
    return f"{name} {temperature(alert.temperature_c, _display_unit(unit))}"


def combined_text(severity: m.Severity, lines: Sequence[Line]) -> str:
    """Several alerts in one SMS, each with the code that acknowledges it; as many as a long SMS holds."""
    start, end = f"{severity.upper()}, {len(lines)} alerts: " if len(lines) > 1 else f"{severity.upper()}: ", ""
    said = [f"{line.label} (over)" if line.over else f"{line.label} (ACK {line.code})" for line in lines]
    while len(start) + len(", ".join(said)) + len(end) > _LONGEST:
        said.pop()
        end = f" and {len(lines) - len(said)} more"
    return f"{start}{', '.join(said)}{end}"


def at_time(text: str, at_ms: int) -> str:
    """A text that is sent long after the breach says when it was: "(at 02:14 UTC)"."""
    when = datetime.fromtimestamp(at_ms / 1000, UTC)
    before, reply, code = text.rpartition(" Reply ACK ")
    note = f"(at {when:%H:%M} UTC)"
    return f"{before} {note}{reply}{code}" if reply else f"{text} {note}"


def resolved_text(alert: m.AlertResolved, unit: m.UnitConfig | None) -> str:
    """What one person reads of a breach's end."""
    display_unit = _display_unit(unit)
    what = "is reporting again" if is_offline(alert.kind) else "is back in range"
    if alert.kind is m.AlertKind.SENSOR_CLOCK:
        what = "sends current readings again"
    if alert.temperature_c is not None and not is_offline(alert.kind):
        what += f" at {temperature(alert.temperature_c, display_unit)}"
    after = f" after {_duration(alert.at_ms - alert.started_at_ms)}"
    worst = "" if alert.extreme_c is None else f", worst {temperature(alert.extreme_c, display_unit)}"
    return _one_part("RESOLVED", unit, alert.unit_id, f" {what}{after}{worst}.")


def confirmation_text(label: str) -> str:
    """What somebody reads who acknowledged by SMS."""
    return f"ACKNOWLEDGED: {label}. Nobody gets further reminders while it is in your hands."


def _what(alert: m.AlertEvent, display_unit: str) -> str:
    lasted_ms = alert.at_ms - alert.started_at_ms
    since = f" for {_duration(lasted_ms)}" if lasted_ms >= 60_000 else ""
    match alert.kind:
        case m.AlertKind.GATEWAY_OFFLINE:
            return f"and all units of its gateway: no readings{since}"
        case m.AlertKind.SENSOR_OFFLINE:
            return f"sends no readings{since}"
        case m.AlertKind.SENSOR_CLOCK:
            offset = "wrong" if alert.clock_offset_s is None else offset_in_words(alert.clock_offset_s)
            return f"sends readings with wrong times{since}: its clock is {offset}"
        case m.AlertKind.TEMPERATURE_HIGH:
            return f"{_compared(alert, 'above', display_unit)}{since}"
        case m.AlertKind.TEMPERATURE_LOW:
            return f"{_compared(alert, 'below', display_unit)}{since}"
        case _:
            assert_never(alert.kind)


def _compared(alert: m.AlertEvent, side: str, display_unit: str) -> str:
    shown_c, limit_c = alert.temperature_c, alert.limit_c
    decimals = 1 if shown_c is None else apart(shown_c, limit_c, display_unit)
    limit = "its limit" if limit_c is None else temperature(limit_c, display_unit, decimals)
    at = "is" if shown_c is None else f"at {temperature(shown_c, display_unit, decimals)},"
    return f"{at} {side} {limit}"


def is_offline(kind: m.AlertKind) -> bool:
    """Whether the alert says that nothing is heard, rather than what was measured."""
    match kind:
        case m.AlertKind.SENSOR_OFFLINE | m.AlertKind.GATEWAY_OFFLINE:
            return True
        case m.AlertKind.TEMPERATURE_HIGH | m.AlertKind.TEMPERATURE_LOW | m.AlertKind.SENSOR_CLOCK:
            return False
        case _:
            assert_never(kind)


def _display_unit(unit: m.UnitConfig | None) -> str:
    return "C" if unit is None else unit.display_unit


def _duration(milliseconds: int) -> str:
    minutes = max(milliseconds, 0) // 60_000
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h" if hours < 48 else f"{hours // 24} d"


def _one_part(start: str, unit: m.UnitConfig | None, unit_id: str, end: str) -> str:
    """The two names share what `start` and `end` leave of one part; the unit's own name goes before its owner's.

    A unit that is not (or no longer) in the configuration is called by its id.
    """
    name = plain(unit.name if unit else "") or plain(plain_id(unit_id)) or "unit"
    organization = plain(unit.organization_name) if unit else ""
    room = ONE_PART - gsm7_units(start) - gsm7_units(end) - len(": ")
    if organization:
        most = min(_ORGANIZATION_AT_MOST, max(room - len(name) - 1, _ORGANIZATION_AT_LEAST))
        if room - most - 1 >= _SHORTEST_NAME:
            organization = shortened(organization, most)
            return f"{start} {organization}: {shortened(name, room - len(organization) - 1)}{end}"
    return f"{start}: {shortened(name, max(room, _SHORTEST_NAME))}{end}"
