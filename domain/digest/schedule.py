"""When a digest is due in a recipient's own timezone, and which local days it covers.

A run belongs to a local date, and each local date has at most one. On a day that skips the wanted hour it is the first
moment after the gap; on a day that repeats the hour, its first occurrence. A date that a zone never had (Apia,
2011-12-30) has no run. A period begins at the first moment of its first local date, which is not always 00:00.

Instants are aware datetimes in UTC; timezones are IANA names, read from the `tzdata` package.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from msgspec import Struct

from domain.digest.cadences import CADENCES, ONE_DAY
from schemas.messages import Cadence  # noqa: TC001 - msgspec reads the annotations

# The longest of IANA's has 32 characters.
LONGEST_ZONE_NAME = 64
DIGESTS = UUID("5f0c1a52-0c0b-5a51-9d0e-6f1a4b0f2d3c")


class ScheduleError(ValueError):
    """A timezone that cannot be used; the message says what would be right."""


class Period(Struct, frozen=True):
    """Whole local dates: `first` up to but not including `until`; the instants are their first moments, in UTC."""

    cadence: Cadence
    timezone: str
    first: date
    until: date
    starts_at: datetime
    ends_at: datetime

    @property
    def starts_at_ms(self) -> int:
        return _ms(self.starts_at)

    @property
    def ends_at_ms(self) -> int:
        return _ms(self.ends_at)

    @property
    def length_ms(self) -> int:
        """23, 24 or 25 hours for a day, or any other length that the zone's clocks made of it."""
        return self.ends_at_ms - self.starts_at_ms


class Run(Struct, frozen=True):
    """A digest that is due at `at` and reports `period`."""

    at: datetime
    period: Period


def _ms(instant: datetime) -> int:
    return int(instant.timestamp()) * 1000


@lru_cache(maxsize=1000)
def zone(timezone: str) -> ZoneInfo:
    """The zone of an IANA name; raises ScheduleError for anything else."""
    try:
        # zoneinfo imports a package for each part of the name, one within the other; a name cut off is no zone's.
        return ZoneInfo(timezone[: LONGEST_ZONE_NAME + 1])
    except (KeyError, ValueError, OSError) as error:
        raise ScheduleError(
            f"{timezone[:LONGEST_ZONE_NAME]!r} is not an IANA timezone;"
            " use a name such as 'America/New_York' or 'Asia/Kolkata'"
        ) from error


def first_moment(on: date, at: time, timezone: str) -> datetime:
    """The first instant at which the local clock shows `at` or later on `on`, and no earlier date."""
    place = zone(timezone)
    wanted = datetime.combine(on, at)
    instant = wanted.replace(tzinfo=place, fold=0).astimezone(UTC)
    if instant.astimezone(place).replace(tzinfo=None, fold=0) == wanted:
        return instant
    # The clock jumps over `wanted`: the offsets before and after the jump bracket the instant of the jump.
    low = wanted.replace(tzinfo=place, fold=1).astimezone(UTC)
    high = instant
    after = high.astimezone(place).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=1) // 2)
        if middle.astimezone(place).utcoffset() == after:
            high = middle
        else:
            low = middle
    return high


def _exists(on: date, timezone: str) -> bool:
    return first_moment(on, time(0), timezone).astimezone(zone(timezone)).date() == on


def period_before(cadence: Cadence, timezone: str, run_on: date) -> Period:
    """The period that ended when the local date `run_on` began."""
    first = CADENCES[cadence].first_before(run_on)
    ends_at = first_moment(run_on, time(0), timezone)
    # A date that the zone never had makes no period of its own.
    while first_moment(first, time(0), timezone) == ends_at:
        first = CADENCES[cadence].first_before(first)
    return Period(
        cadence=cadence,
        timezone=timezone,
        first=first,
        until=run_on,
        starts_at=first_moment(first, time(0), timezone),
        ends_at=ends_at,
    )


def previous_period(period: Period) -> Period:
    """The period before this one, for a trend."""
    return period_before(period.cadence, period.timezone, period.first)


def _run_on(cadence: Cadence, timezone: str, hour: int, on: date) -> Run | None:
    if not CADENCES[cadence].runs_on(on) or not _exists(on, timezone):
        return None
    return Run(first_moment(on, time(hour), timezone), period_before(cadence, timezone, on))


def next_run(cadence: Cadence, timezone: str, hour: int | None, after: datetime) -> Run:
    """The first run later than `after`; `hour` is the local one, null for the cadence's usual hour."""
    wanted = CADENCES[cadence].usual_hour if hour is None else hour
    on = after.astimezone(zone(timezone)).date() - ONE_DAY
    while True:
        run = _run_on(cadence, timezone, wanted, on)
        if run and run.at > after:
            return run
        on += ONE_DAY


def latest_run(cadence: Cadence, timezone: str, hour: int | None, now: datetime) -> Run:
    """The newest run at or before `now`."""
    wanted = CADENCES[cadence].usual_hour if hour is None else hour
    on = now.astimezone(zone(timezone)).date() + ONE_DAY
    while True:
        run = _run_on(cadence, timezone, wanted, on)
        if run and run.at <= now:
            return run
        on -= ONE_DAY


def due_run(cadence: Cadence, timezone: str, hour: int | None, since: datetime, now: datetime) -> Run | None:
    """What must be sent now: the newest run in (`since`, `now`], or null.

    `since` is the last run that was sent, or the moment at which the preference was made or resumed. After an outage
    of any length this is exactly one run, the newest: people need the latest period, not a pile of old ones.
    """
    run = latest_run(cadence, timezone, hour, now)
    return run if run.at > since else None


def digest_id(user_id: str, period: Period) -> str:
    """The same for every attempt at one user's digest of one period, however much data it could see."""
    return str(uuid5(DIGESTS, f"{user_id}|{period.cadence}|{period.timezone}|{period.first.isoformat()}"))
