"""The daily, weekly and monthly mail: which sections each has, in which order, and how many rows fit.

A mail beyond 102 KB is cut off by Gmail, so tables are short and say how many rows they leave out and where those are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.digest import tables, words
from domain.digest.compliance import compliance_table
from domain.digest.compliance import sentence as weekly_sentence
from domain.digest.facts import UnitGrade
from domain.digest.monthly import monthly
from domain.digest.view import Section, View
from schemas import messages as m

if TYPE_CHECKING:
    from domain.digest.facts import Digest

# With 7 columns a row is about 900 bytes of HTML: 60 units and a quarter as many alerts stay below the limit.
UNIT_ROWS = 60
SHORT = 8
ON_THE_PAGE = "are on the web page"
IN_THE_PDF = "are in the attached PDF"

HEADINGS = {
    UnitGrade.OPEN: "Needs attention",
    UnitGrade.RECOVERED: "Had a problem, recovered",
    UnitGrade.NOT_GRADED: "Not graded",
    UnitGrade.GOOD: "In range",
}


def view(digest: Digest, display_unit: str, unit_rows: int = UNIT_ROWS) -> View:
    """What the mail of the digest's cadence shows; `display_unit` is "C" or "F", at most about `unit_rows` units."""
    match digest.period.cadence:
        case m.Cadence.DAILY:
            sections = _daily(digest, display_unit, unit_rows)
            sentence, tone = tables.verdict(digest)
        case m.Cadence.WEEKLY:
            sections = _weekly(digest, display_unit, unit_rows)
            sentence, tone = weekly_sentence(digest)
        case m.Cadence.MONTHLY:
            sections = monthly(digest, display_unit, ON_THE_PAGE)
            sentence, tone = tables.verdict(digest)
    cadence = digest.period.cadence
    return View(
        subject=words.subject(cadence, digest.organization_name),
        title=words.TITLES[cadence],
        organization=digest.organization_name,
        period=words.period_name(digest.period),
        verdict=sentence,
        tone=tone,
        tiles=tables.tiles(digest),
        notes=tables.notes(digest),
        sections=tuple(sections),
        explanations=(tables.ABOUT_COVERAGE, tables.ABOUT_KINETIC),
        timezone=digest.period.timezone,
    )


def _daily(digest: Digest, display_unit: str, unit_rows: int) -> list[Section]:
    rows_left = unit_rows
    by_grade: dict[UnitGrade, Section] = {}
    for grade in UnitGrade:
        units = tables.of_grade(digest.units, grade)
        if not units:
            continue
        table = tables.units_table(units, display_unit, max(1, rows_left), ON_THE_PAGE)
        rows_left -= len(table.rows)
        by_grade[grade] = Section(HEADINGS[grade], table=table)
    problems = [by_grade[one] for one in (UnitGrade.OPEN, UnitGrade.RECOVERED) if one in by_grade]
    others = [by_grade[one] for one in (UnitGrade.NOT_GRADED, UnitGrade.GOOD) if one in by_grade]
    return [
        *problems,
        *_alerts(digest, display_unit, unit_rows // 4, ON_THE_PAGE),
        *tables.curves_section(digest, display_unit),
        *tables.revisions_section(digest, display_unit, SHORT),
        *others,
    ]


def _alerts(digest: Digest, display_unit: str, at_most: int, where: str) -> list[Section]:
    if not digest.alerts:
        return []
    table = tables.alerts_table(digest, digest.alerts, display_unit, at_most, where)
    return [Section("Alerts", table=table)]


def _weekly(digest: Digest, display_unit: str, unit_rows: int) -> list[Section]:
    gaps = tables.gaps_table(digest, SHORT, IN_THE_PDF)
    return [
        Section(
            "Compliance by unit",
            lead="The attached PDF lists every excursion and gap, with lines for corrective action and signature.",
            table=compliance_table(digest, display_unit, unit_rows * 5 // 6, IN_THE_PDF),
        ),
        *_alerts(digest, display_unit, unit_rows // 4, IN_THE_PDF),
        *([Section("Longest gaps", table=gaps)] if gaps.rows else []),
        *tables.curves_section(digest, display_unit),
        *tables.revisions_section(digest, display_unit, SHORT),
    ]
