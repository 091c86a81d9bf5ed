"""Temperature logs of other systems: CSV with a time and a temperature column, among them RuuviTag exports.

Reading is apart from sending. `read_csv` yields, for every line, a reading or what is wrong with the line; nothing is
skipped silently and one bad line stops nothing.
"""

from __future__ import annotations

import csv
import math
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from domain import temperatures
from producers.simulator import Emission
from schemas.messages import Reading, ReadingBatch
from schemas.messages.reading_bounds import LATEST_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from zoneinfo import ZoneInfo

TIME_COLUMNS = ("timestamp", "time", "datetime", "date", "ts", "at")
TEMPERATURE_COLUMNS = ("temperature", "temp", "temperature_c", "temp_c", "celsius", "value")
ABSOLUTE_ZERO_C = -273.15
# A number below this is seconds, above it milliseconds: as seconds it would be the year 5138, as milliseconds 1973.
MILLISECONDS_FROM = 100_000_000_000


class Times(StrEnum):
    """What becomes of a file's times: kept; moved so that the newest is now; or each is new when it is sent."""

    FILE = "file"
    SHIFT = "shift"
    LIVE = "live"


class ColumnError(ValueError):
    """The file's header lacks a column; the message names those that it has."""


class BadLine(Struct, frozen=True):
    """A line that gives no reading; `problem` names the value, the rule and the way out."""

    file: str
    line: int
    problem: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.problem}"


class Format(Struct, frozen=True, kw_only=True):
    """How to read a file. `zone` gives meaning to times without an offset; without it they are refused."""

    time_column: str | None = None
    temperature_column: str | None = None
    fahrenheit: bool = False
    zone: ZoneInfo | None = None


def read_csv(lines: Iterable[str], form: Format, *, file: str) -> Iterator[Reading | BadLine]:
    """Each line's reading or what is wrong with it. Raises ColumnError when the header does not fit."""
    rows = csv.reader(lines)
    try:
        header = [name.strip().lstrip("\ufeff") for name in next(rows, [])]
    except csv.Error as error:
        raise ColumnError(f"{file}: the header is not CSV ({error}); is it a table of readings?") from error
    at = _column(header, form.time_column, TIME_COLUMNS, "--time-column", file)
    value = _column(header, form.temperature_column, TEMPERATURE_COLUMNS, "--temperature-column", file)
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            yield BadLine(file, rows.line_num, f"not CSV ({error}); quote the field or remove the line")
            continue
        if row is None:
            return
        if not any(row):
            continue
        try:
            reading = _reading(row, len(header), at, value, form)
        except ValueError as error:
            yield BadLine(file, rows.line_num, str(error))
        else:
            yield reading


def _reading(row: list[str], expected: int, at: int, value: int, form: Format) -> Reading:
    if len(row) <= max(at, value):
        raise ValueError(f"{len(row)} fields where the header has {expected}; complete or remove the line")
    return Reading(parse_time(row[at].strip(), form.zone), parse_celsius(row[value].strip(), form.fahrenheit))


def parse_time(text: str, zone: ZoneInfo | None) -> int:
    """ISO 8601, or seconds or milliseconds since 1970-01-01 UTC, as milliseconds.

    A local time that a clock change repeats is taken as its first. Raises ValueError with the way out.
    """
    try:
        number = float(text)
    except ValueError:
        return _parse_iso(text, zone)
    # Also a compact ISO date is a number; it would be a day in August 1970.
    if not math.isfinite(number) or not 100_000_000 <= number <= LATEST_MS:
        raise ValueError(f"time {text!r} is no time since 1970 in seconds or milliseconds; use those or ISO 8601")
    return round(number if number >= MILLISECONDS_FROM else number * 1000)


def _parse_iso(text: str, zone: ZoneInfo | None) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"time {text!r} is neither ISO 8601 nor a number since 1970; write 2026-01-31T08:00:00+01:00 or 1769842800"
        ) from None
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError(f"time {text!r} has no offset from UTC; give the file's zone: --timezone Europe/Berlin")
        moment = moment.replace(tzinfo=zone)
        # A local time that a clock change skipped does not come back the same from UTC.
        if moment.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment.replace(tzinfo=None):
            raise ValueError(f"time {text!r} does not exist in {zone.key}: clocks skip it; use times with an offset")
    return round(moment.timestamp() * 1000)


def parse_celsius(text: str, fahrenheit: bool) -> float:  # noqa: FBT001
    """Degrees Celsius. Raises ValueError with the way out."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError(
            f"temperature {text!r} is not a number; use a point for decimals, or remove the line"
        ) from None
    if not math.isfinite(value):
        raise ValueError(f"temperature {text!r} is not finite; remove the line")
    celsius = temperatures.celsius(value) if fahrenheit else value
    if celsius < ABSOLUTE_ZERO_C:
        raise ValueError(f"temperature {text!r} is below absolute zero; is it in another unit?")
    return celsius


def in_order(readings: Iterable[Reading]) -> list[Reading]:
    """By time; readings of one time keep the file's order."""
    return sorted(readings, key=lambda reading: reading.at_ms)


def timed_for(
    readings: Sequence[Reading], times: Times, *, now_ms: int, speed: float | None
) -> tuple[list[Reading], int, float]:
    """The readings as they are to be sent, and how to pace them: from which time on, how fast (infinite: at once).

    LIVE divides the distances between readings by `speed` (1 without one), so that each is sent at the time that it
    bears: a rule's "for so many seconds" then counts played seconds.
    """
    first_ms = readings[0].at_ms
    if times is Times.LIVE:
        faster = speed or 1.0
        return (
            [Reading(now_ms + round((r.at_ms - first_ms) / faster), r.temperature_c) for r in readings],
            now_ms,
            1.0,
        )
    by_ms = now_ms - readings[-1].at_ms if times is Times.SHIFT else 0
    return [Reading(r.at_ms + by_ms, r.temperature_c) for r in readings], first_ms + by_ms, speed or math.inf


def too_old_to_page(readings: Sequence[Reading], now_ms: int, reach_s: int) -> str | None:
    """What to say of readings that are all older than a unit's longest live window: limits on them page nobody."""
    age_s = (now_ms - readings[-1].at_ms) // 1000
    if age_s <= reach_s:
        return None
    return (
        f"the newest reading is {age_s // 86_400} days old, and readings older than {reach_s // 86_400} days "
        "page nobody: send them with --times shift, so that the newest is now"
    )


def as_emissions(unit_id: str, readings: Sequence[Reading], per_batch: int) -> Iterator[Emission]:
    """Batches of up to `per_batch` readings, each due when its last one was measured."""
    for start in range(0, len(readings), per_batch):
        batch = list(readings[start : start + per_batch])
        yield Emission(batch[-1].at_ms, ReadingBatch(unit_id, batch))


def _column(header: list[str], wanted: str | None, usual: tuple[str, ...], option: str, file: str) -> int:
    names = [name.lower() for name in header]
    for candidate in (wanted.lower(),) if wanted else usual:
        if candidate in names:
            return names.index(candidate)
    looked_for = repr(wanted) if wanted else f"any of {', '.join(usual)}"
    raise ColumnError(
        f"{file} has no column {looked_for}; it has {', '.join(header) or 'an empty header'}: name one with {option}"
    )
