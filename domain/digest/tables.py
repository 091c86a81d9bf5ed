"""The tables that several digests share: units, alerts, gaps, revisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.digest import words
from domain.digest.facts import AlertRecord, Digest, UnitDigest, UnitGrade
from domain.digest.view import Picture, Row, Section, Table, Tile, Tone
from schemas import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TONES = {
    UnitGrade.OPEN: Tone.BAD,
    UnitGrade.RECOVERED: Tone.WARN,
    UnitGrade.NOT_GRADED: Tone.UNKNOWN,
    UnitGrade.GOOD: Tone.GOOD,
}

ABOUT_COVERAGE = (
    "Coverage is the part of the time that readings vouch for: each one until the next, at most for the number of "
    "expected intervals after which a unit counts as silent. What nothing vouches for is not graded, never in range."
)
ABOUT_KINETIC = (
    "MKT is the mean kinetic temperature (ICH/USP, activation energy 83.144 kJ/mol): the constant temperature that "
    "would have stressed the goods as much as the measured one."
)


def tiles(digest: Digest) -> tuple[Tile, ...]:
    numbers = digest.numbers
    return (
        Tile("Readings", f"{numbers.total_readings:,}"),
        Tile("Alerts", f"{numbers.total_alerts:,}", Tone.WARN if numbers.total_alerts else Tone.PLAIN),
        Tile("Critical alerts", f"{numbers.critical_alerts:,}", Tone.BAD if numbers.critical_alerts else Tone.PLAIN),
        Tile("Units monitored", f"{numbers.units_monitored:,}"),
    )


def verdict(digest: Digest) -> tuple[str, Tone]:
    """The one sentence that a reader in a hurry needs."""
    by = {grade: sum(unit.grade is grade for unit in digest.units) for grade in UnitGrade}
    graded = [f"{words.count(by[UnitGrade.GOOD], 'unit')} in range"]
    if by[UnitGrade.NOT_GRADED]:
        graded.append(f"{by[UnitGrade.NOT_GRADED]:,} not graded")
    rest = ", ".join(graded)
    if by[UnitGrade.OPEN]:
        needs = "needs" if by[UnitGrade.OPEN] == 1 else "need"
        recovered = f", {by[UnitGrade.RECOVERED]:,} recovered" if by[UnitGrade.RECOVERED] else ""
        return f"{words.count(by[UnitGrade.OPEN], 'unit')} {needs} attention now{recovered}; {rest}.", Tone.BAD
    if by[UnitGrade.RECOVERED]:
        return f"{words.count(by[UnitGrade.RECOVERED], 'unit')} had a problem and recovered; {rest}.", Tone.WARN
    if by[UnitGrade.NOT_GRADED]:
        return f"No problem was seen; {rest}.", Tone.UNKNOWN
    return (
        (f"All {by[UnitGrade.GOOD]:,} units were in range.", Tone.GOOD) if digest.units else ("No units.", Tone.UNKNOWN)
    )


def notes(digest: Digest) -> tuple[str, ...]:
    found: list[str] = []
    if not digest.complete:
        until = (
            "" if digest.recorded_until_ms is None else f" Recorded up to {_moment(digest, digest.recorded_until_ms)}."
        )
        found.append(
            f"Not all readings of this period had been processed by {_moment(digest, digest.as_of_ms)}, "
            f"after a wait of {words.duration(digest.waited_ms)}; the next summary names what they change.{until}"
        )
    if changed := words.clock_change(digest.period):
        found.append(changed)
    return tuple(found)


def _moment(digest: Digest, at_ms: int) -> str:
    return words.moment(at_ms, _zone(digest))


def units_table(units: Sequence[UnitDigest], display_unit: str, at_most: int, where: str) -> Table:
    return Table(
        headers=("Unit", "Min", "Mean", "Max", "MKT", "Out of range", "Coverage"),
        rows=tuple(_unit_row(unit, display_unit) for unit in units[:at_most]),
        left_out=left_out(len(units) - at_most, "unit", where),
    )


def left_out(more: int, what: str, where: str) -> str:
    return f"and {words.count(more, f'more {what}')} {where}" if more > 0 else ""


def _unit_row(unit: UnitDigest, display_unit: str) -> Row:
    remark = limits_and_doubt(unit, display_unit)
    if unit.open_alerts:
        remark += f"; {words.count(unit.open_alerts, 'open alert')}"
    if unit.revised_buckets:
        remark += f"; late readings changed {words.count(unit.revised_buckets, 'quarter hour')}"
    temperatures = (unit.min_c, unit.mean_c, unit.max_c, unit.mkt_c)
    return Row(
        cells=(
            unit.name,
            *(words.temperature(celsius, display_unit) for celsius in temperatures),
            out_of_range(unit),
            words.percent(unit.coverage),
        ),
        tone=TONES[unit.grade],
        remark=remark,
    )


def limits_and_doubt(unit: UnitDigest, display_unit: str) -> str:
    """The unit's limits, and why it is not graded."""
    if unit.high_c is None and unit.low_c is None:
        return unit.why_not_graded or ""
    limits = words.limits(unit.high_c, unit.low_c, display_unit)
    return f"{limits}; {unit.why_not_graded}" if unit.why_not_graded else limits


def out_of_range(unit: UnitDigest) -> str:
    """The time out of range; where that is none, in doubt whether none was measured or none can be known."""
    if not unit.out_ms and (not unit.covered_ms or (unit.high_c is None and unit.low_c is None)):
        return "not graded"
    if not unit.out_ms and unit.why_not_graded:
        return "none measured"
    return words.duration(unit.out_ms)


def alerts_table(digest: Digest, alerts: Sequence[AlertRecord], display_unit: str, at_most: int, where: str) -> Table:
    names = {unit.unit_id: unit.name for unit in digest.units}
    return Table(
        headers=("Unit", "Alert", "When", "Lasted", "Extreme", "Acknowledged"),
        rows=tuple(_alert_row(alert, names, digest, display_unit) for alert in alerts[:at_most]),
        left_out=left_out(len(alerts) - at_most, "alert", where),
        texts=6,
    )


def _alert_row(alert: AlertRecord, names: dict[str, str], digest: Digest, display_unit: str) -> Row:
    timezone = _zone(digest)
    ended = alert.resolved_at_ms
    is_open = ended is None or ended > digest.as_of_ms
    if ended is None or is_open:
        when, lasted = f"since {words.moment(alert.started_at_ms, timezone)}", "still open"
    else:
        when = words.stretch(alert.started_at_ms, ended, timezone)
        lasted = words.duration(ended - alert.started_at_ms)
    acknowledged = "no"
    if alert.acknowledged_at_ms is not None:
        acknowledged = f"{alert.acknowledged_by or 'yes'}, {words.moment(alert.acknowledged_at_ms, timezone)}"
    return Row(
        cells=(
            names.get(alert.unit_id, alert.unit_id),
            f"{alert.severity}: {words.KINDS[alert.kind]}",
            when,
            lasted,
            words.temperature(alert.extreme_c, display_unit),
            acknowledged,
        ),
        tone=Tone.BAD if is_open else Tone.WARN if alert.severity is m.Severity.CRITICAL else Tone.PLAIN,
        remark="" if alert.paging else f"nobody was paged: {alert.silent_because or 'silenced'}",
    )


def gaps_table(digest: Digest, at_most: int, where: str) -> Table:
    """The longest gaps first."""
    found = [(unit, gap) for unit in digest.units for gap in unit.gaps]
    found.sort(key=lambda pair: (-pair[1].missing_ms, pair[0].name.casefold(), pair[1].starts_at_ms))
    rows = (
        Row(
            (
                unit.name,
                words.stretch(gap.starts_at_ms, gap.ends_at_ms, _zone(digest)),
                words.duration(gap.missing_ms),
            ),
            Tone.UNKNOWN,
        )
        for unit, gap in found[:at_most]
    )
    return Table(("Unit", "When", "Without readings"), tuple(rows), left_out(len(found) - at_most, "gap", where), 2)


def revisions_section(digest: Digest, display_unit: str, at_most: int) -> list[Section]:
    """What late readings changed in the period before; empty when nothing did."""
    if not digest.revisions:
        return []
    rows = tuple(
        Row(
            (
                one.name,
                f"{one.was.readings:,} → {one.now.readings:,}",
                f"{words.duration(one.was.out_ms)} → {words.duration(one.now.out_ms)}",
                f"{words.temperature(one.was.max_c, display_unit)} → {words.temperature(one.now.max_c, display_unit)}",
                words.count(one.buckets, "quarter hour"),
            ),
            Tone.WARN if one.now.out_ms > one.was.out_ms else Tone.PLAIN,
        )
        for one in digest.revisions[:at_most]
    )
    more = left_out(len(digest.revisions) - at_most, "unit", "changed likewise")
    return [
        Section(
            title=f"Revised since the last report: {words.period_name(digest.revisions[0].period)}",
            lead="Readings that came late changed these numbers of a period that was already reported.",
            table=Table(("Unit", "Readings", "Out of range", "Max", "Revised"), rows, more),
        )
    ]


def curves_section(digest: Digest, display_unit: str) -> list[Section]:
    """One chart a unit; its content id is `curve-N`, in the order of `digest.curves`."""
    pictures = tuple(
        Picture(f"curve-{number}", curve.name, _curve_in_words(digest, curve.unit_id, display_unit))
        for number, curve in enumerate(digest.curves)
    )
    return [Section("Course of the temperature", pictures=pictures)] if pictures else []


def _curve_in_words(digest: Digest, unit_id: str, display_unit: str) -> str:
    unit = next(unit for unit in digest.units if unit.unit_id == unit_id)
    return (
        f"{words.temperature(unit.min_c, display_unit)} to {words.temperature(unit.max_c, display_unit)}, "
        f"limits {words.limits(unit.high_c, unit.low_c, display_unit)}, out of range {out_of_range(unit)}"
    )


def of_grade(units: Iterable[UnitDigest], grade: UnitGrade) -> list[UnitDigest]:
    return [unit for unit in units if unit.grade is grade]


def _zone(digest: Digest) -> str:
    return digest.period.timezone
