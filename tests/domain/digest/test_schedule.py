"""Runs and periods in local time, against plain counting."""

import random
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.digest.schedule import (
    ScheduleError,
    digest_id,
    due_run,
    first_moment,
    latest_run,
    next_run,
    period_before,
    previous_period,
    zone,
)
from schemas.messages import Cadence

ZONES = [
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
    "America/St_Johns",
    "America/Havana",
    "America/Santiago",
    "America/Nuuk",
    "Atlantic/Azores",
    "Africa/Cairo",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Pacific/Apia",
    "UTC",
]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("timezone", "on", "hours"),
    [
        ("America/New_York", date(2026, 3, 7), 24),
        ("America/New_York", date(2026, 3, 8), 23),
        ("America/New_York", date(2026, 11, 1), 25),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
        ("Pacific/Chatham", date(2026, 4, 5), 25),
        ("Pacific/Chatham", date(2026, 9, 27), 23),
        # the clock jumps at midnight, so the day begins at 01:00
        ("America/Santiago", date(2026, 9, 6), 23),
        # one o'clock becomes midnight again
        ("America/Havana", date(2026, 11, 1), 25),
        ("Asia/Kathmandu", date(2026, 3, 29), 24),
    ],
)
def test_a_local_day_is_as_long_as_its_clock_made_it(timezone: str, on: date, hours: float) -> None:
    period = period_before(Cadence.DAILY, timezone, on + timedelta(days=1))
    assert (period.first, period.until) == (on, on + timedelta(days=1))
    assert period.length_ms == hours * 3_600_000


@pytest.mark.parametrize(
    ("timezone", "on", "hour", "at"),
    [
        ("America/New_York", date(2026, 3, 8), 7, "2026-03-08T07:00:00-04:00"),
        # 02:00 does not exist: the first moment after the gap
        ("America/New_York", date(2026, 3, 8), 2, "2026-03-08T03:00:00-04:00"),
        # 01:00 comes twice: the first
        ("America/New_York", date(2026, 11, 1), 1, "2026-11-01T01:00:00-04:00"),
        ("Australia/Lord_Howe", date(2026, 10, 4), 2, "2026-10-04T02:30:00+11:00"),
        ("America/Santiago", date(2026, 9, 6), 0, "2026-09-06T01:00:00-03:00"),
        # 23:00 is skipped, and with it the rest of the day: it runs as the next day begins
        ("America/Nuuk", date(2026, 3, 28), 23, "2026-03-29T00:00:00-01:00"),
        ("Asia/Kolkata", date(2026, 1, 1), 7, "2026-01-01T01:30:00+00:00"),
    ],
)
def test_the_hour_of_a_run_on_days_that_skip_or_repeat_it(timezone: str, on: date, hour: int, at: str) -> None:
    assert first_moment(on, time(hour), timezone) == utc(at)


@pytest.mark.parametrize("timezone", ZONES)
@pytest.mark.parametrize("hour", [0, 1, 2, 7, 23])
def test_a_year_has_one_daily_run_for_each_local_date_and_its_periods_join(timezone: str, hour: int) -> None:
    at = utc("2026-01-01T00:00:00+00:00")
    runs = []
    while at < utc("2027-01-02T00:00:00+00:00"):
        run = next_run(Cadence.DAILY, timezone, hour, at)
        runs.append(run)
        at = run.at
    for one, two in pairwise(runs):
        assert two.period.first == one.period.first + timedelta(days=1)
        assert two.period.starts_at == one.period.ends_at
        assert one.period.ends_at <= one.at


def test_a_date_that_the_zone_never_had_has_no_run() -> None:
    before = next_run(Cadence.DAILY, "Pacific/Apia", 7, utc("2011-12-28T18:00:00+00:00"))
    after = next_run(Cadence.DAILY, "Pacific/Apia", 7, before.at)
    local = [run.at.astimezone(ZoneInfo("Pacific/Apia")).date() for run in (before, after)]
    assert local == [date(2011, 12, 29), date(2011, 12, 31)]
    assert (after.period.first, after.period.length_ms) == (date(2011, 12, 29), 24 * 3_600_000)


def test_weekly_and_monthly_runs_and_their_usual_hours() -> None:
    now = utc("2026-11-24T12:00:00+00:00")
    weekly = next_run(Cadence.WEEKLY, "America/Chicago", None, now)
    assert weekly.at == utc("2026-11-30T09:00:00-06:00")
    assert (weekly.period.first, weekly.period.until) == (date(2026, 11, 23), date(2026, 11, 30))
    monthly = next_run(Cadence.MONTHLY, "America/Chicago", None, now)
    assert monthly.at == utc("2026-12-01T08:00:00-06:00")
    assert (monthly.period.first, monthly.period.until) == (date(2026, 11, 1), date(2026, 12, 1))
    assert previous_period(monthly.period).first == date(2026, 10, 1)
    assert next_run(Cadence.DAILY, "America/Chicago", None, now).at == utc("2026-11-24T07:00:00-06:00")


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(list(Cadence)),
    st.sampled_from(ZONES),
    st.integers(0, 23),
    st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_the_latest_run_is_the_one_before_the_next(cadence: Cadence, timezone: str, hour: int, now: datetime) -> None:
    latest, following = latest_run(cadence, timezone, hour, now), next_run(cadence, timezone, hour, now)
    assert latest.at <= now < following.at
    assert next_run(cadence, timezone, hour, latest.at) == following
    assert latest.period.ends_at == following.period.starts_at


def test_after_three_days_down_exactly_the_newest_missed_run_is_due() -> None:
    since, now = utc("2026-05-04T07:00:00-04:00"), utc("2026-05-07T10:00:00-04:00")
    run = due_run(Cadence.DAILY, "America/New_York", 7, since, now)
    assert run is not None
    assert run.period.first == date(2026, 5, 6)
    assert due_run(Cadence.DAILY, "America/New_York", 7, run.at, now) is None


@pytest.mark.parametrize("timezone", ["America/New_York", "Asia/Kathmandu", "Pacific/Chatham", "America/Santiago"])
@pytest.mark.parametrize("cadence", list(Cadence))
def test_a_year_of_random_restarts_sends_each_period_once_and_one_catch_up_an_outage(
    timezone: str, cadence: Cadence
) -> None:
    rng = random.Random(f"{timezone} {cadence}")
    now = since = utc("2026-01-01T00:00:00+00:00")
    sent: list[date] = []
    skipped: set[date] = set()
    while now < utc("2027-01-01T00:00:00+00:00"):
        # awake every few hours; now and then down for days
        pause = timedelta(hours=rng.uniform(0.1, 6)) if rng.random() > 0.01 else timedelta(days=rng.uniform(1, 9))
        wanted = []
        at = now
        while (run := next_run(cadence, timezone, 7, at)).at <= now + pause:
            wanted.append(run.period.first)
            at = run.at
        now += pause
        skipped.update(wanted[:-1])
        if due := due_run(cadence, timezone, 7, since, now):
            sent.append(due.period.first)
            since = due.at
        assert (sent[-1:] == wanted[-1:]) or not wanted
    assert len(sent) == len(set(sent))
    assert skipped.isdisjoint(sent)
    days = sorted([*sent, *skipped])
    step = {Cadence.DAILY: {1}, Cadence.WEEKLY: {7}, Cadence.MONTHLY: {28, 30, 31}}[cadence]
    assert {(two - one).days for one, two in pairwise(days)} <= step


def test_a_preference_made_after_the_hour_waits_for_tomorrow() -> None:
    made = utc("2026-05-07T09:00:00-04:00")
    assert due_run(Cadence.DAILY, "America/New_York", 7, made, made + timedelta(hours=2)) is None


def test_a_digest_keeps_its_id_for_its_period_and_no_other() -> None:
    run = next_run(Cadence.DAILY, "America/New_York", 7, utc("2026-05-07T00:00:00+00:00"))
    later_hour = next_run(Cadence.DAILY, "America/New_York", 9, utc("2026-05-07T00:00:00+00:00"))
    tomorrow = next_run(Cadence.DAILY, "America/New_York", 7, run.at)
    assert digest_id("u-1", run.period) == digest_id("u-1", later_hour.period)
    assert len({digest_id("u-1", run.period), digest_id("u-2", run.period), digest_id("u-1", tomorrow.period)}) == 3


@pytest.mark.parametrize("timezone", ["Mars/Olympus", "", "../etc/passwd", "EST5EDT4", "America", "Europe/Ber" * 2_000])
def test_a_wrong_timezone_is_refused_with_an_example(timezone: str) -> None:
    with pytest.raises(ScheduleError, match="America/New_York"):
        zone(timezone)
