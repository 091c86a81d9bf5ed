"""Tables of units: how each did in the period."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from domain.digest import words
from domain.digest.columns import Column, Context, Limit, table
from domain.digest.compliance import TONES, by_verdict, verdict
from domain.digest.facts import UnitDigest, UnitGrade
from domain.digest.view import Tone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.digest.view import Table

GRADE_TONES = {
    UnitGrade.OPEN: Tone.BAD,
    UnitGrade.RECOVERED: Tone.WARN,
    UnitGrade.REMOVED: Tone.WARN,
    UnitGrade.NOT_GRADED: Tone.UNKNOWN,
    UnitGrade.GOOD: Tone.GOOD,
}


class In(StrEnum):
    """The tables that list units."""

    UNITS = "units"
    COMPLIANCE = "compliance"


class UnitColumn(Struct, frozen=True):
    """A column and the tables that have it: both, unless said otherwise."""

    column: Column[UnitDigest]
    tables: tuple[In, ...] = tuple(In)


UNIT_COLUMNS: tuple[UnitColumn, ...] = (
    UnitColumn(Column("Unit", lambda unit, _: unit.name, is_text=True, width=2.5)),
    UnitColumn(Column("Verdict", lambda unit, _: verdict(unit), is_text=True, width=1.3), (In.COMPLIANCE,)),
    UnitColumn(Column("Min", lambda unit, context: context.temperature(unit.min_c, unit.low_c), width=0.9)),
    UnitColumn(Column("Mean", lambda unit, context: context.temperature(unit.mean_c), width=0.9), (In.UNITS,)),
    UnitColumn(Column("Max", lambda unit, context: context.temperature(unit.max_c, unit.high_c), width=0.9)),
    UnitColumn(Column("MKT", lambda unit, context: context.temperature(unit.mkt_c), width=0.9)),
    UnitColumn(Column("Out of range", lambda unit, _: out_of_range(unit), width=1.2)),
    UnitColumn(Column("Excursions", lambda unit, _: f"{unit.excursions:,}", width=1.2), (In.COMPLIANCE,)),
    UnitColumn(Column("Coverage", lambda unit, _: words.percent(unit.coverage), width=1.1)),
)
"""A new column of units is one entry here."""


def _columns(of: In) -> list[Column[UnitDigest]]:
    return [one.column for one in UNIT_COLUMNS if of in one.tables]


def units_table(units: Sequence[UnitDigest], context: Context, limit: Limit) -> Table:
    return table(
        _columns(In.UNITS),
        units,
        context,
        limit,
        "unit",
        tone=lambda unit: GRADE_TONES[unit.grade],
        remark=lambda unit: _remark(unit, context),
    )


def compliance_table(context: Context, limit: Limit) -> Table:
    """Each unit's verdict, not compliant first."""
    return table(
        _columns(In.COMPLIANCE),
        [unit for _, unit in by_verdict(context.digest)],
        context,
        limit,
        "unit",
        tone=lambda unit: TONES[verdict(unit)],
        remark=lambda unit: limits_and_doubt(unit, context.display_unit),
    )


def of_grade(units: Sequence[UnitDigest], grade: UnitGrade) -> list[UnitDigest]:
    return [unit for unit in units if unit.grade is grade]


def _remark(unit: UnitDigest, context: Context) -> str:
    found = [limits_and_doubt(unit, context.display_unit)]
    if unit.grade is UnitGrade.REMOVED and unit.excursions:
        found.append(words.count(unit.excursions, "excursion"))
    if unit.out_ms and not unit.alerts:
        found.append(_why_no_alert(unit, context))
    if unit.open_alerts:
        found.append(words.count(unit.open_alerts, "open alert"))
    if unit.revised_buckets:
        found.append("includes readings that arrived late")
    return "; ".join(filter(None, found))


def _why_no_alert(unit: UnitDigest, context: Context) -> str:
    if any(alert.unit_id == unit.unit_id for alert in context.digest.alerts):
        return "its alert began before this period"
    return "no alert: too brief each time, or the readings arrived too late"


def limits_and_doubt(unit: UnitDigest, display_unit: str) -> str:
    """The unit's limits, and why it is not graded."""
    if unit.high_c is None and unit.low_c is None:
        return unit.why_not_graded or ""
    limits = words.limits(unit.high_c, unit.low_c, display_unit)
    return f"{limits}; {unit.why_not_graded}" if unit.why_not_graded else limits


def out_of_range(unit: UnitDigest) -> str:
    """The time out of range. Where that is zero, says whether zero was measured or nothing could be."""
    if not unit.out_ms and (not unit.covered_ms or (unit.high_c is None and unit.low_c is None)):
        return "not graded"
    if not unit.out_ms and unit.why_not_graded:
        return "none measured"
    return words.duration(unit.out_ms)
