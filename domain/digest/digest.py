"""The numbers of a digest: what happened to an organization's units in one period, problems first.

Everything comes from aggregates and alerts; nothing is measured here. A unit is *good* only if its readings cover
enough of the period and none was out of range. A silent unit, or one without limits, is "not graded", never
"compliant".
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from domain.detection.aggregate_numbers import Grading, grading
from domain.digest.aggregate_totals import Totals
from domain.digest.cadences import CADENCES, Layout
from domain.digest.courses import Course, LocalDates
from domain.digest.facts import (
    UNIT_GRADES,
    AlertRecord,
    Curve,
    Day,
    Digest,
    Numbers,
    Point,
    SmsCounts,
    Source,
    Sums,
    UnitDigest,
    UnitGrade,
)
from domain.digest.gaps import gaps
from schemas import messages as m
from schemas.identity import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from domain.digest.schedule import Period

# The part of a period that readings must vouch for before a unit may be called compliant.
ENOUGH_COVERAGE = 0.9
NAME_AT_MOST = 100
# A mail shows at most this many curves.
CURVES = 4


def digest(source: Source, period: Period, as_of_ms: int) -> Digest:
    """Sum up a period as it looks at `as_of_ms`, which decides whether an alert is still open."""
    alerts = [alert for alert in source.alerts if _touches(alert, period)]
    days = _Days(period)
    found, curves = _units(source, alerts, days, period, as_of_ms)
    known = {unit.unit_id for unit in found}
    alerts = [alert for alert in alerts if alert.unit_id in known]
    began = [alert for alert in alerts if alert.started_at_ms >= period.starts_at_ms]
    days.count(began)
    ordered = sorted(found, key=_urgency)
    return Digest(
        organization_id=source.organization_id,
        organization_name=source.organization_name,
        period=period,
        as_of_ms=as_of_ms,
        due_at_ms=source.due_at_ms,
        unit_ids=source.unit_ids,
        complete=source.complete,
        waited_ms=source.waited_ms,
        recorded_until_ms=source.recorded_until_ms,
        sums=_sums(ordered, began, source.sms, period),
        units=tuple(ordered),
        alerts=tuple(sorted(alerts, key=lambda alert: _alert_urgency(alert, as_of_ms))),
        days=days.done(),
        curves=tuple(curves[unit.unit_id] for unit in ordered if unit.unit_id in curves)[:CURVES],
        before=source.before,
        revisions=source.revisions,
    )


def _units(
    source: Source, alerts: Sequence[AlertRecord], days: _Days, period: Period, as_of_ms: int
) -> tuple[list[UnitDigest], dict[str, Curve]]:
    """Each unit's numbers, and curves of those that the mail may show. Adds the courses to `days`.

    A unit that has readings but no configuration was removed.
    """
    configs = {unit.unit_id: unit for unit in source.units}
    by_unit: defaultdict[str, list[AlertRecord]] = defaultdict(list)
    for alert in alerts:
        by_unit[alert.unit_id].append(alert)
    has_curves = CADENCES[period.cadence].layout is not Layout.ANALYTICS
    found: dict[str, UnitDigest] = {}
    curves: dict[str, Curve] = {}
    for course in source.courses:
        unit_id = course.unit_id
        about = _about(unit_id, configs.get(unit_id), source.names, course)
        unit = _unit(about, course, by_unit[unit_id], period, as_of_ms)
        days.add(course)
        found[unit_id] = unit
        if has_curves and course.buckets and (unit.grade != UnitGrade.GOOD or len(curves) < CURVES):
            curves[unit_id] = _curve(course.buckets, unit)
    for unit_id, config in configs.items():
        if unit_id not in found:
            about, empty = _about(unit_id, config, source.names, None), Course(unit_id, (), None, None, ())
            found[unit_id] = _unit(about, empty, by_unit[unit_id], period, as_of_ms)
    return list(found.values()), curves


def _touches(alert: AlertRecord, period: Period) -> bool:
    ended = alert.resolved_at_ms
    return alert.started_at_ms < period.ends_at_ms and (ended is None or ended >= period.starts_at_ms)


def _is_open(alert: AlertRecord, as_of_ms: int) -> bool:
    return alert.resolved_at_ms is None or alert.resolved_at_ms > as_of_ms


class _About(NamedTuple):
    """What a unit is called, and the limits that count for it."""

    name: str
    high_c: float | None
    low_c: float | None
    removed: bool


def _about(unit_id: str, config: m.UnitConfig | None, names: Mapping[str, str], course: Course | None) -> _About:
    name = config.name if config is not None else names.get(unit_id, "")
    # The limits that the readings were measured against; today's where there is none.
    limits: Course | Grading | None = course or (grading(config) if config is not None else None)
    high_c, low_c = (None, None) if limits is None else (limits.high_c, limits.low_c)
    return _About(_short(name, plain(unit_id)), high_c, low_c, removed=config is None)


def _unit(about: _About, course: Course, alerts: Sequence[AlertRecord], period: Period, as_of_ms: int) -> UnitDigest:
    total = course.total()
    coverage = total.coverage(period.length_ms)
    why_not = _why_not_graded(about, coverage)
    began = [alert for alert in alerts if alert.started_at_ms >= period.starts_at_ms]
    opened = sum(_is_open(alert, as_of_ms) for alert in alerts)
    return UnitDigest(
        unit_id=course.unit_id,
        name=about.name,
        grade=_grade(about, total, alerts, opened, why_not),
        why_not_graded=why_not,
        readings=total.count,
        min_c=total.min_c,
        mean_c=total.mean_c,
        max_c=total.max_c,
        mkt_c=total.mkt_c,
        above_ms=total.above_ms,
        below_ms=total.below_ms,
        covered_ms=total.covered_ms,
        coverage=coverage,
        excursions=total.excursions,
        alerts=len(began),
        critical_alerts=sum(alert.severity is m.Severity.CRITICAL for alert in began),
        open_alerts=opened,
        revised_buckets=total.revised,
        high_c=about.high_c,
        low_c=about.low_c,
        gaps=() if course.buckets is None else gaps(course.buckets, period.starts_at_ms, period.ends_at_ms),
    )


def _grade(about: _About, total: Totals, alerts: Sequence[AlertRecord], opened: int, why_not: str | None) -> UnitGrade:
    if about.removed:
        return UnitGrade.REMOVED
    if opened:
        return UnitGrade.OPEN
    if alerts or total.out_ms or total.excursions:
        return UnitGrade.RECOVERED
    return UnitGrade.NOT_GRADED if why_not else UnitGrade.GOOD


def _short(name: str, otherwise: str) -> str:
    """On one line and truncated, so that tables keep their shape."""
    name = " ".join(name.split()) or otherwise
    return name if len(name) <= NAME_AT_MOST else f"{name[: NAME_AT_MOST - 1]}…"


def _why_not_graded(about: _About, coverage: float) -> str | None:
    if about.removed:
        return "the unit was removed"
    if coverage <= 0:
        return "no readings"
    if about.high_c is None and about.low_c is None:
        return "no limits are set"
    if coverage < ENOUGH_COVERAGE:
        return f"readings cover only {int(coverage * 100)} % of the time"
    return None


def _alert_urgency(alert: AlertRecord, as_of_ms: int) -> tuple[bool, int, int, str]:
    return (not _is_open(alert, as_of_ms), alert.severity.rank, alert.started_at_ms, alert.alert_id)


def _urgency(unit: UnitDigest) -> tuple[int, int, int, str, str]:
    return (UNIT_GRADES.index(unit.grade), -unit.critical_alerts, -unit.out_ms, unit.name.casefold(), unit.unit_id)


def _sums(units: Sequence[UnitDigest], began: Sequence[AlertRecord], sms: SmsCounts, period: Period) -> Sums:
    by_severity = tuple(sum(alert.severity is severity for alert in began) for severity in m.SEVERITIES)
    # Nobody expects readings of a unit that was removed.
    present = [unit for unit in units if unit.grade is not UnitGrade.REMOVED]
    possible_ms = period.length_ms * len(present)
    return Sums(
        numbers=Numbers(
            total_readings=sum(unit.readings for unit in units),
            total_alerts=len(began),
            units_monitored=len(present),
            critical_alerts=by_severity[0],
        ),
        out_ms=sum(unit.out_ms for unit in units),
        coverage=sum(unit.covered_ms for unit in present) / possible_ms if possible_ms else 0.0,
        excursions=sum(unit.excursions for unit in units),
        by_severity=(by_severity[0], by_severity[1], by_severity[2]),
        sms=sms,
    )


def _curve(buckets: Iterable[m.AggregateBucket], unit: UnitDigest) -> Curve:
    points = tuple(Point(b.starts_at_ms, b.min_c, b.sum_c / b.count, b.max_c) for b in buckets if b.count)
    return Curve(unit.unit_id, unit.name, unit.high_c, unit.low_c, points)


class _Days:
    """All units' totals by local date."""

    def __init__(self, period: Period) -> None:
        self._dates = LocalDates(period.timezone)
        self._totals: defaultdict[date, Totals] = defaultdict(Totals)
        self._alerts: Counter[date] = Counter()

    def add(self, course: Course) -> None:
        for on, total in course.by_day:
            self._totals[on] += total

    def count(self, alerts: Iterable[AlertRecord]) -> None:
        self._alerts.update(self._dates.of(alert.started_at_ms) for alert in alerts)

    def done(self) -> tuple[Day, ...]:
        return tuple(
            Day(on, total.count, total.out_ms, total.covered_ms, self._alerts[on])
            for on in sorted({*self._totals, *self._alerts})
            for total in (self._totals.get(on, Totals()),)
        )
