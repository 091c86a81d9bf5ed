"""Files of other loggers become readings, line by line, and what is not a reading is reported."""

from __future__ import annotations

import csv
import random
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cli.seed.seed_file import SeedError, unit_with_limits
from producers.replay import (
    BadLine,
    ColumnError,
    Format,
    Times,
    as_emissions,
    in_order,
    parse_celsius,
    parse_time,
    read_csv,
    timed_for,
    too_old_to_page,
)
from schemas.messages import Limit, Reading

EXPORTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "ruuvi_fridge"
BERLIN = ZoneInfo("Europe/Berlin")
SERIES = [Reading(10_000, 4.0), Reading(20_000, 5.0), Reading(70_000, 6.0)]


def read(text: str, form: Format | None = None) -> list[Reading | BadLine]:
    return list(read_csv(text.splitlines(), form or Format(), file="log.csv"))


@pytest.mark.parametrize(("name", "rows"), [("fridge.csv", 368), ("fruits.csv", 213)])
def test_a_ruuvitag_export_is_read_as_it_comes(name: str, rows: int) -> None:
    path = EXPORTS / name
    if not path.exists():
        pytest.skip("the RuuviTag exports do not lie beside the project")
    with path.open(newline="") as lines:
        readings = list(read_csv(lines, Format(), file=name))
    with path.open(newline="") as lines:
        expected = [
            Reading(round(datetime.fromisoformat(row["timestamp"]).timestamp() * 1000), float(row["temperature"]))
            for row in csv.DictReader(lines)
        ]
    assert len(readings) == rows
    assert readings == expected


def test_an_export_in_the_same_layout_is_read_as_it_comes() -> None:
    head = "timestamp,temperature,humidity,pressure,rssi,acceleration x,voltage,movement counter"
    rng = random.Random(7)
    series = [Reading(1_588_663_316_000 + 10_000 * number, round(rng.uniform(1, 6), 2)) for number in range(300)]
    rows = (
        f"{datetime.fromtimestamp(at_ms / 1000, BERLIN):%Y-%m-%dT%H:%M:%S%z},{celsius},44.2,1013.06,-96,-0.03,2.9,197"
        for at_ms, celsius in ((reading.at_ms, reading.temperature_c) for reading in series)
    )
    assert read("\n".join([head, *rows])) == series


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("2020-05-05T09:21:56+0200", 1_588_663_316_000),
        ("2020-05-05T07:21:56Z", 1_588_663_316_000),
        ("2020-05-05 09:21:56.250+02:00", 1_588_663_316_250),
        ("1588663316", 1_588_663_316_000),
        ("1588663316.25", 1_588_663_316_250),
        ("1588663316000", 1_588_663_316_000),
        ("1.588663316e9", 1_588_663_316_000),
    ],
)
def test_a_time_is_iso_8601_with_an_offset_or_a_number_since_1970(text: str, at_ms: int) -> None:
    assert parse_time(text, None) == at_ms


def test_a_time_without_an_offset_needs_a_zone() -> None:
    with pytest.raises(ValueError, match="has no offset from UTC; give the file's zone: --timezone"):
        parse_time("2020-05-05T09:21:56", None)
    assert parse_time("2020-05-05T09:21:56", BERLIN) == 1_588_663_316_000


def test_a_time_that_the_clocks_skip_is_refused_and_a_repeated_one_is_the_first() -> None:
    with pytest.raises(ValueError, match="does not exist in Europe/Berlin"):
        parse_time("2026-03-29T02:30:00", BERLIN)
    assert parse_time("2026-10-25T02:30:00", BERLIN) == parse_time("2026-10-25T02:30:00+02:00", None)


@pytest.mark.parametrize("text", ["20200505", "0", "-5", "nan", "inf"])
def test_a_number_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time since 1970"):
        parse_time(text, None)


def test_fahrenheit_becomes_celsius() -> None:
    assert parse_celsius("39.2", fahrenheit=True) == 4.0
    assert parse_celsius("-40", fahrenheit=True) == -40.0
    assert parse_celsius("39.2", fahrenheit=False) == 39.2


def test_a_bad_line_is_told_with_its_place_and_the_way_out_and_the_others_are_read() -> None:
    items = read(
        "Time,Temp\n"
        "2026-01-31T08:00:00Z,4.0\n"
        "yesterday,4.0\n"
        "2026-01-31T08:01:00Z,warm\n"
        "2026-01-31T08:02:00Z,nan\n"
        "2026-01-31T08:03:00Z,-300\n"
        "2026-01-31T08:04:00Z\n"
        "\n"
        '"2026-01-31T08:05:00Z","4.5"\n'
    )
    assert [str(item) for item in items if isinstance(item, BadLine)] == [
        (
            "log.csv:3: time 'yesterday' is neither ISO 8601 nor a number since 1970;"
            " write 2026-01-31T08:00:00+01:00 or 1769842800"
        ),
        "log.csv:4: temperature 'warm' is not a number; use a point for decimals, or remove the line",
        "log.csv:5: temperature 'nan' is not finite; remove the line",
        "log.csv:6: temperature '-300' is below absolute zero; is it in another unit?",
        "log.csv:7: 1 fields where the header has 2; complete or remove the line",
    ]
    assert [item.temperature_c for item in items if isinstance(item, Reading)] == [4.0, 4.5]


def test_a_field_that_is_too_long_for_csv_is_a_bad_line() -> None:
    items = read(f"time,temp\n{'x' * 200_000},1\n1769842800,4\n")
    assert isinstance(items[0], BadLine)
    assert items[1] == Reading(1_769_842_800_000, 4.0)


def test_columns_are_found_by_usual_names_or_by_the_given_ones() -> None:
    assert read("\ufeffTimestamp, Temperature\n1769842800,4\n") == [Reading(1_769_842_800_000, 4.0)]
    form = Format(time_column="when", temperature_column="Probe 2", fahrenheit=True)
    assert read("when,Probe 1,Probe 2\n1769842800,0,50\n", form) == [Reading(1_769_842_800_000, 10.0)]


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("when,temp", r"log\.csv has no column any of timestamp, .*; it has when, temp: name one with --time-column"),
        ("time,probe", r"log\.csv has no column any of temperature, .*: name one with --temperature-column"),
        ("", "it has an empty header"),
    ],
)
def test_a_missing_column_is_told_with_those_that_are_there(header: str, says: str) -> None:
    with pytest.raises(ColumnError, match=says):
        read(f"{header}\n1,2\n")


def test_readings_are_sent_in_the_order_of_their_times() -> None:
    assert in_order(reversed(SERIES)) == SERIES


def test_times_stay_move_or_become_live() -> None:
    assert timed_for(SERIES, Times.FILE, now_ms=500_000, speed=None) == (SERIES, 10_000, float("inf"))
    shifted, start_ms, speed = timed_for(SERIES, Times.SHIFT, now_ms=500_000, speed=10)
    assert ([r.at_ms for r in shifted], start_ms, speed) == ([440_000, 450_000, 500_000], 440_000, 10)
    live, start_ms, speed = timed_for(SERIES, Times.LIVE, now_ms=500_000, speed=10)
    assert ([r.at_ms for r in live], start_ms, speed) == ([500_000, 501_000, 506_000], 500_000, 1.0)


def test_batches_are_due_when_their_last_reading_is() -> None:
    assert [(e.due_at_ms, len(e.batch.readings)) for e in as_emissions("u", SERIES, 2)] == [(20_000, 2), (70_000, 1)]


def test_limits_become_rules_of_the_unit() -> None:
    unit = unit_with_limits("u", 3.0, None, 900)
    assert [(rule.limit, rule.limit_c) for rule in unit.rules] == [(Limit.HIGH, 3.0)]
    both = unit_with_limits("u", 3.0, 0.0, 10**9)
    assert [(rule.rule_id, rule.limit_c) for rule in both.rules] == [("high", 3.0), ("low", 0.0)]
    assert both.live_window_s == 31_536_000
    with pytest.raises(SeedError, match=r"a limit in °C: .*less than or equal to 150 \(is 400\.0\)"):
        unit_with_limits("u", 400.0, None, 900)


def test_limits_on_a_file_of_years_ago_page_nobody_and_that_is_said() -> None:
    year_s = 365 * 86_400
    newest_ms = SERIES[-1].at_ms
    assert too_old_to_page(SERIES, newest_ms + year_s * 1000, year_s) is None
    said = too_old_to_page(SERIES, newest_ms + 3 * year_s * 1000, year_s)
    assert said is not None
    assert "1095 days old" in said
    assert "--times shift" in said
