"""A digest's numbers equal those of a plain loop over the raw readings of the same local day."""

import math
import random
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from domain.detection.aggregate_numbers import grading
from domain.detection.aggregate_state import About, Policy
from domain.digest.courses import courses
from domain.digest.digest import digest
from domain.digest.facts import Source, UnitDigest
from domain.digest.schedule import Period, period_before
from schemas import messages as m
from tests.domain.detection.bucket_worker import Worker, newest_revisions

UNIT = m.UnitConfig(
    unit_id="u-1",
    organization_id="org-1",
    name="Walk-in",
    expected_interval_s=300,
    rules=(
        m.Rule(rule_id="h", limit=m.Limit.HIGH, severity=m.Severity.CRITICAL, limit_c=5.0),
        m.Rule(rule_id="l", limit=m.Limit.LOW, severity=m.Severity.CRITICAL, limit_c=1.0),
    ),
)
DAYS = [
    (zone, on)
    for zone, dates in {
        "America/New_York": ("2026-03-08", "2026-11-01"),
        "America/Chicago": ("2026-03-08", "2026-11-01"),
        "America/Denver": ("2026-03-08", "2026-11-01"),
        "America/Los_Angeles": ("2026-03-08", "2026-11-01"),
        "Asia/Kolkata": ("2026-03-29", "2026-10-25"),
        "Asia/Kathmandu": ("2026-03-29", "2026-10-25"),
        "Pacific/Chatham": ("2026-09-27", "2026-04-05"),
        "Australia/Lord_Howe": ("2026-10-04", "2026-04-05"),
    }.items()
    for on in (*dates, "2026-06-17")
]


def readings_around(period: Period, rng: random.Random) -> list[tuple[int, float]]:
    """Six hours more on both sides; irregular, with silences of up to two hours."""
    at, end = period.starts_at_ms - 6 * 3_600_000, period.ends_at_ms + 6 * 3_600_000
    found = []
    while at < end:
        found.append((at, round(3 + 2.5 * math.sin(at / 4_000_000) + rng.gauss(0, 0.4), 2)))
        at += rng.randrange(20_000, 400_000) if rng.random() > 0.01 else rng.randrange(1_800_000, 7_200_000)
    return found


def as_they_arrive(readings: list[tuple[int, float]], rng: random.Random) -> list[tuple[int, float]]:
    """5 % twice, 5 % late by up to three hours."""
    arrivals = [
        (at + (rng.randrange(60_000, 10_800_000) if rng.random() < 0.05 else 0), (at, value)) for at, value in readings
    ]
    arrivals += [(when + rng.randrange(1_800_000), reading) for when, reading in arrivals if rng.random() < 0.05]
    return [reading for _, reading in sorted(arrivals)]


def through_the_worker(readings: list[tuple[int, float]], rng: random.Random) -> list[m.AggregateBucket]:
    """As they arrive, in batches; three times the last batch is run again."""
    sent = as_they_arrive(readings, rng)
    worker = Worker(About("u-1", "org-1", grading(UNIT)), Policy())
    crashes = set(rng.sample(range(0, len(sent), 10), 3))
    for begin in range(0, len(sent), 10):
        worker.take(sent[begin : begin + 10])
        if begin in crashes:
            worker.take(sent[max(0, begin - 30) : begin + 10])
    worker.finish()
    assert any(bucket.revision > 1 for bucket in worker.published)
    return newest_revisions(worker.published)


def loop_over(readings: list[tuple[int, float]], period: Period) -> dict[str, float]:
    """The same day, looked at once: no buckets, no duplicates, no lateness."""
    place = ZoneInfo(period.timezone)

    def inside(at: int) -> bool:
        return datetime.fromtimestamp(at / 1000, UTC).astimezone(place).date() == period.first

    values = [value for at, value in readings if inside(at)]
    above = below = covered = 0
    weighted = 0.0
    for (at, value), (following, _) in pairwise([*readings, (1 << 60, 0.0)]):
        end = min(following, at + 900_000, period.ends_at_ms)
        lasts = max(0, end - max(at, period.starts_at_ms))
        covered += lasts
        above += lasts if value > 5 else 0
        below += lasts if value < 1 else 0
        weighted += lasts * math.exp(-10_000 / (value + 273.15))
    return {
        "count": len(values),
        "min": min(values),
        "mean": sum(values) / len(values),
        "max": max(values),
        "above": above,
        "below": below,
        "covered": covered,
        "mkt": 10_000 / -math.log(weighted / covered) - 273.15,
    }


@pytest.mark.parametrize(("timezone", "on"), DAYS)
def test_a_day_is_the_same_as_a_loop_over_its_readings(timezone: str, on: str) -> None:
    rng = random.Random(f"{timezone} {on}")
    period = period_before(m.Cadence.DAILY, timezone, date.fromisoformat(on) + timedelta(days=1))
    readings = readings_around(period, rng)
    source = Source(
        organization_id="org-1",
        organization_name="Corner Store",
        units=[UNIT],
        courses=courses(through_the_worker(readings, rng), period),
    )
    found = digest(source, period, as_of_ms=period.ends_at_ms + 7 * 3_600_000)
    unit: UnitDigest = found.units[0]
    expected = loop_over(readings, period)
    assert found.numbers.total_readings == unit.readings == expected["count"]
    assert (unit.min_c, unit.max_c) == (expected["min"], expected["max"])
    assert (unit.above_ms, unit.below_ms, unit.covered_ms) == (
        expected["above"],
        expected["below"],
        expected["covered"],
    )
    assert unit.mean_c == pytest.approx(expected["mean"], abs=1e-6)
    assert unit.mkt_c == pytest.approx(expected["mkt"], abs=1e-6)
    assert sum(gap.missing_ms for gap in unit.gaps) == period.length_ms - unit.covered_ms
