"""A unit's course through a period: its totals by local date, from buckets or as a database summed them up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence  # noqa: TC003 - msgspec reads the annotations
from datetime import UTC, date, datetime
from itertools import groupby

from msgspec import Struct

from domain.detection.aggregate_numbers import BUCKET_MS
from domain.digest.aggregate_totals import Totals, totals
from domain.digest.schedule import Period, zone
from schemas import messages as m  # noqa: TC001 - same


class Course(Struct, frozen=True):
    """The limits are the last that readings were measured against; `buckets` is null where only totals are known."""

    unit_id: str
    by_day: Sequence[tuple[date, Totals]]
    high_c: float | None
    low_c: float | None
    buckets: Sequence[m.AggregateBucket] | None = None

    def total(self) -> Totals:
        return sum((totals for _, totals in self.by_day), Totals())


class LocalDates:
    """The local dates of instants in a timezone; they change only at the border of a bucket."""

    def __init__(self, timezone: str) -> None:
        self._zone = zone(timezone)
        self._known: dict[int, date] = {}

    def of(self, at_ms: int) -> date:
        start = at_ms - at_ms % BUCKET_MS
        found = self._known.get(start)
        if found is None:
            found = self._known[start] = datetime.fromtimestamp(start / 1000, UTC).astimezone(self._zone).date()
        return found


def courses(buckets: Iterable[m.AggregateBucket], period: Period) -> Iterator[Course]:
    """One course a unit. `buckets` come ordered by unit id, then time, each once in its newest revision."""
    dates = LocalDates(period.timezone)
    # Looked up once: these are computed, and there are many buckets.
    starts_at_ms, ends_at_ms = period.starts_at_ms, period.ends_at_ms
    for unit_id, group in groupby(buckets, key=lambda bucket: bucket.unit_id):
        found = [one for one in group if starts_at_ms <= one.starts_at_ms < ends_at_ms]
        if found:
            by_day = groupby(found, key=lambda bucket: dates.of(bucket.starts_at_ms))
            days = [(on, totals(day)) for on, day in by_day]
            yield Course(unit_id, days, found[-1].high_c, found[-1].low_c, found)
