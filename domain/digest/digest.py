"""The numbers of a digest: what happened to an organization's units in one period, problems first.

Everything comes from buckets and alerts; nothing is measured here. A unit is *good* only if its readings cover enough
of the period and none was out of range. A silent unit, or one without limits, is "not graded", never "compliant".
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime
from itertools import groupby
from typing import TYPE_CHECKING

from domain.detection.aggregate_numbers import BUCKET_MS, grading
from domain.digest.aggregate_totals import Totals, totals
from domain.digest.cadences import CADENCES, Layout
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
from domain.digest.schedule import Period, zone
from schemas import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# The part of a period that readings must vouch for before a unit may be called compliant.
ENOUGH_COVERAGE = 0.9
NAME_AT_MOST = 100
# Curves are kept of this many units: a mail shows no more.
CURVES = 4


def digest(source: Source, period: Period, as_of_ms: int) -> Digest:
    """Sum up a period as it looks at `as_of_ms`, which decides whether an alert is still open."""
    known = {unit.unit_id for unit in source.units}
    alerts = [alert for alert in source.alerts if alert.unit_id in known and _touches(alert, period)]
    began = [alert for alert in alerts if alert.started_at_ms >= period.starts_at_ms]
    days = _Days(period)
    days.count(began)
    summaries, curves = _units(source, alerts, days, period, as_of_ms)
    ordered = sorted(summaries, key=_urgency)
    return Digest(
        organization_id=source.organization_id,
        organization_name=source.organization_name,
        period=period,
        as_of_ms=as_of_ms,
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
    """Each unit's numbers; curves of those that the mail may show. Adds the buckets to `days`."""
    configs = {unit.unit_id: unit for unit in source.units}
    by_unit: defaultdict[str, list[AlertRecord]] = defaultdict(list)
    for alert in alerts:
        by_unit[alert.unit_id].append(alert)
    # Looked up once: these are computed, and a month of a thousand units has three million buckets.
    starts_at_ms, ends_at_ms = period.starts_at_ms, period.ends_at_ms
    has_curves = CADENCES[period.cadence].layout is not Layout.ANALYTICS
    found: dict[str, UnitDigest] = {}
    curves: dict[str, Curve] = {}
    for unit_id, group in groupby(source.buckets, key=lambda bucket: bucket.unit_id):
        config = configs.get(unit_id)
        if config is None:
            continue
        buckets = [b for b in group if starts_at_ms <= b.starts_at_ms < ends_at_ms]
        unit = _unit(config, buckets, days.add(buckets), by_unit[unit_id], period, as_of_ms)
        found[unit_id] = unit
        if has_curves and (unit.grade != UnitGrade.GOOD or len(curves) < CURVES):
            curves[unit_id] = _curve(config, buckets, unit)
    for unit_id, config in configs.items():
        if unit_id not in found:
            found[unit_id] = _unit(config, [], Totals(), by_unit[unit_id], period, as_of_ms)
    return list(found.values()), curves


def _touches(alert: AlertRecord, period: Period) -> bool:
    ended = alert.resolved_at_ms
    return alert.started_at_ms < period.ends_at_ms and (ended is None or ended >= period.starts_at_ms)


def _is_open(alert: AlertRecord, as_of_ms: int) -> bool:
    return alert.resolved_at_ms is None or alert.resolved_at_ms > as_of_ms


def _unit(
    config: m.UnitConfig,
    buckets: Sequence[m.AggregateBucket],
    total: Totals,
    alerts: Sequence[AlertRecord],
    period: Period,
    as_of_ms: int,
) -> UnitDigest:
    """`total` is that of the buckets."""
    # The limits that the buckets were measured against; today's where there is none.
    graded = grading(config)
    high_c, low_c = (buckets[-1].high_c, buckets[-1].low_c) if buckets else (graded.high_c, graded.low_c)
    coverage = total.coverage(period.length_ms)
    why_not = _why_not_graded(coverage, limited=high_c is not None or low_c is not None)
    began = [alert for alert in alerts if alert.started_at_ms >= period.starts_at_ms]
    opened = sum(_is_open(alert, as_of_ms) for alert in alerts)
    if opened:
        grade = UnitGrade.OPEN
    elif alerts or total.out_ms or total.excursions:
        grade = UnitGrade.RECOVERED
    else:
        grade = UnitGrade.NOT_GRADED if why_not else UnitGrade.GOOD
    return UnitDigest(
        unit_id=config.unit_id,
        name=_name(config),
        grade=grade,
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
        high_c=high_c,
        low_c=low_c,
        gaps=gaps(buckets, period.starts_at_ms, period.ends_at_ms),
    )


def _name(config: m.UnitConfig) -> str:
    """On one line and truncated, so that tables keep their shape."""
    name = " ".join(config.name.split()) or config.unit_id
    return name if len(name) <= NAME_AT_MOST else f"{name[: NAME_AT_MOST - 1]}…"


def _why_not_graded(coverage: float, *, limited: bool) -> str | None:
    if coverage <= 0:
        return "no readings"
    if not limited:
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
    possible_ms = period.length_ms * len(units)
    return Sums(
        numbers=Numbers(
            total_readings=sum(unit.readings for unit in units),
            total_alerts=len(began),
            units_monitored=len(units),
            critical_alerts=by_severity[0],
        ),
        out_ms=sum(unit.out_ms for unit in units),
        coverage=sum(unit.covered_ms for unit in units) / possible_ms if possible_ms else 0.0,
        excursions=sum(unit.excursions for unit in units),
        by_severity=(by_severity[0], by_severity[1], by_severity[2]),
        sms=sms,
    )


def _curve(config: m.UnitConfig, buckets: Iterable[m.AggregateBucket], unit: UnitDigest) -> Curve:
    points = tuple(
        Point(b.starts_at_ms, b.min_c, b.sum_c / b.count if b.count else None, b.max_c) for b in buckets if b.count
    )
    return Curve(config.unit_id, unit.name, unit.high_c, unit.low_c, points)


class _Days:
    """All units' totals by local date."""

    def __init__(self, period: Period) -> None:
        self._zone = zone(period.timezone)
        self._totals: dict[date, Totals] = {}
        self._alerts: dict[date, int] = {}
        self._dates: dict[int, date] = {}

    def _date(self, at_ms: int) -> date:
        # A local date changes only at the border of a bucket.
        start = at_ms - at_ms % BUCKET_MS
        found = self._dates.get(start)
        if found is None:
            found = self._dates[start] = datetime.fromtimestamp(start / 1000, UTC).astimezone(self._zone).date()
        return found

    def add(self, buckets: Iterable[m.AggregateBucket]) -> Totals:
        """The totals of one unit's buckets; each bucket is looked at once, for merging is exact in any order."""
        whole = Totals()
        for on, group in groupby(buckets, key=lambda bucket: self._date(bucket.starts_at_ms)):
            day = totals(group)
            whole += day
            self._totals[on] = self._totals.get(on, Totals()) + day
        return whole

    def count(self, alerts: Iterable[AlertRecord]) -> None:
        for alert in alerts:
            on = self._date(alert.started_at_ms)
            self._alerts[on] = self._alerts.get(on, 0) + 1

    def done(self) -> tuple[Day, ...]:
        found: Mapping[date, Totals] = self._totals
        return tuple(
            Day(on, total.count, total.out_ms, total.covered_ms, self._alerts.get(on, 0))
            for on in sorted({*found, *self._alerts})
            for total in (found.get(on, Totals()),)
        )
