"""What a digest knows, as plain facts: units, alerts, days, curves and sums of one organization's period."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence  # noqa: TC003
from datetime import date  # noqa: TC003
from enum import StrEnum

from msgspec import Struct, field

from domain.digest.courses import Course  # noqa: TC001
from domain.digest.gaps import Gap  # noqa: TC001
from domain.digest.schedule import Period  # noqa: TC001

# msgspec reads the annotations when the classes are made.
from schemas import messages as m  # noqa: TC001


class UnitGrade(StrEnum):
    """How a unit did in the period, in the order in which a digest shows it."""

    OPEN = "open"
    RECOVERED = "recovered"
    REMOVED = "removed"
    NOT_GRADED = "not graded"
    GOOD = "good"


UNIT_GRADES = tuple(UnitGrade)


class AlertRecord(Struct, frozen=True, kw_only=True):
    """An alert as SQL knows it."""

    alert_id: str
    unit_id: str
    kind: m.AlertKind
    severity: m.Severity
    started_at_ms: int
    resolved_at_ms: int | None = None
    extreme_c: float | None = None
    limit_c: float | None = None
    paging: bool = True
    silent_because: str | None = None
    acknowledged_at_ms: int | None = None
    acknowledged_by: str | None = None
    corrective_action: str | None = None


class SmsCounts(Struct, frozen=True):
    """Outcomes of the period's SMS; the rate limit held back the `suppressed` ones."""

    sent: int = 0
    delivered: int = 0
    failed: int = 0
    suppressed: int = 0
    opted_out: int = 0


class Numbers(Struct, frozen=True, rename="camel"):
    """The four headline numbers, under the names `totalReadings`, `totalAlerts`, `unitsMonitored`, `criticalAlerts`.

    Alerts count in the period in which they began.
    """

    total_readings: int = 0
    total_alerts: int = 0
    units_monitored: int = 0
    critical_alerts: int = 0


class UnitDigest(Struct, frozen=True, kw_only=True):
    """One unit in one period; temperatures in °C, durations in milliseconds, `coverage` 0..1."""

    unit_id: str
    name: str
    grade: UnitGrade = field(name="standing")  # as stored digests call it
    why_not_graded: str | None
    readings: int
    min_c: float | None
    mean_c: float | None
    max_c: float | None
    mkt_c: float | None
    above_ms: int
    below_ms: int
    covered_ms: int
    coverage: float
    excursions: int
    alerts: int
    critical_alerts: int
    open_alerts: int
    revised_buckets: int
    high_c: float | None
    low_c: float | None
    gaps: tuple[Gap, ...] = ()

    @property
    def out_ms(self) -> int:
        return self.above_ms + self.below_ms


class Point(Struct, frozen=True, gc=False):
    """A bucket in a curve; null temperatures where a bucket had no reading."""

    at_ms: int
    min_c: float | None
    mean_c: float | None
    max_c: float | None


class Curve(Struct, frozen=True):
    """A unit's course over the period."""

    unit_id: str
    name: str
    high_c: float | None
    low_c: float | None
    points: tuple[Point, ...]


class Day(Struct, frozen=True):
    """All units together on one local date."""

    on: date
    readings: int
    out_ms: int
    covered_ms: int
    alerts: int


class Sums(Struct, frozen=True):
    """A period in a few numbers, kept so that the next one can show a trend."""

    numbers: Numbers = Numbers()
    out_ms: int = 0
    coverage: float = 0.0
    excursions: int = 0
    by_severity: tuple[int, int, int] = (0, 0, 0)
    sms: SmsCounts = SmsCounts()


class Reported(Struct, frozen=True):
    """A unit's numbers as a digest reported them; stored with it, so that a later one can name what changed."""

    readings: int
    min_c: float | None
    max_c: float | None
    out_ms: int
    revised_buckets: int


class Revision(Struct, frozen=True):
    """A unit whose numbers for an earlier period changed; `buckets` counts the revised quarter hours."""

    unit_id: str
    name: str
    period: Period
    buckets: int
    was: Reported
    now: Reported


class Digest(Struct, frozen=True, kw_only=True):
    """All that a mail of this period can say; every recipient's mail comes from the same one."""

    organization_id: str
    organization_name: str
    period: Period
    as_of_ms: int
    due_at_ms: int = 0
    unit_ids: tuple[str, ...] = ()
    complete: bool
    waited_ms: int = 0
    recorded_until_ms: int | None = None
    sums: Sums
    units: tuple[UnitDigest, ...]
    alerts: tuple[AlertRecord, ...]
    days: tuple[Day, ...]
    curves: tuple[Curve, ...]
    before: Sums | None = None
    revisions: tuple[Revision, ...] = ()

    @property
    def numbers(self) -> Numbers:
        return self.sums.numbers


class Source(Struct, frozen=True, kw_only=True):
    """What a digest is made from.

    `courses` are those of all units that had readings, also of units removed since; `names` has what those were called.
    `alerts` are those that were open at any moment of the period. `complete` is false when the recorded buckets did not
    reach the period's end within `waited_ms` after the digest was due; `recorded_until_ms` is then up to when they are
    whole. `unit_ids` are those that the digest is limited to, if any.
    `before` holds the sums of the period before, if any; `revisions` what late readings changed in earlier
    periods.
    """

    organization_id: str
    organization_name: str
    units: Sequence[m.UnitConfig]
    courses: Iterable[Course]
    names: Mapping[str, str] = {}
    alerts: Sequence[AlertRecord] = ()
    sms: SmsCounts = SmsCounts()
    due_at_ms: int = 0
    unit_ids: tuple[str, ...] = ()
    complete: bool = True
    waited_ms: int = 0
    recorded_until_ms: int | None = None
    before: Sums | None = None
    revisions: tuple[Revision, ...] = ()
