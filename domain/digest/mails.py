"""The mail of each layout: which sections it has, in which order, and how many rows fit.

Gmail cuts off a mail beyond 102 KB, so tables are short and say how many rows they leave out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from domain.digest import compliance, headline, words
from domain.digest.analytics import analytics
from domain.digest.cadences import CADENCES, Layout
from domain.digest.columns import Context, Limit
from domain.digest.facts import UnitGrade
from domain.digest.tables import alerts_section, curves_section, gaps_table, revisions_sections
from domain.digest.unit_tables import compliance_table, of_grade, units_table
from domain.digest.view import Section, View

if TYPE_CHECKING:
    from domain.digest.facts import Digest

# With 7 columns a row is about 900 bytes of HTML: 60 units and a quarter as many alerts stay below the limit.
UNIT_ROWS = 60
SHORT = 8
NOT_SHOWN = "are not shown here"
IN_THE_PDF = "are in the attached PDF"

HEADINGS = {
    UnitGrade.OPEN: "Needs attention",
    UnitGrade.RECOVERED: "Had a problem, recovered",
    UnitGrade.REMOVED: "Removed units",
    UnitGrade.NOT_GRADED: "Not graded",
    UnitGrade.GOOD: "In range",
}


def view(digest: Digest, display_unit: str, unit_rows: int = UNIT_ROWS) -> View:
    """What the mail of the digest's cadence shows; `display_unit` is "C" or "F", at most about `unit_rows` units."""
    context = Context(digest, display_unit)
    rules = CADENCES[digest.period.cadence]
    match rules.layout:
        case Layout.OVERVIEW:
            sections, (sentence, tone) = _overview(context, unit_rows), headline.verdict(digest)
        case Layout.COMPLIANCE:
            sections, (sentence, tone) = _compliance(context, unit_rows), compliance.sentence(digest)
        case Layout.ANALYTICS:
            sections, (sentence, tone) = analytics(context, NOT_SHOWN), headline.verdict(digest)
        case _:
            assert_never(rules.layout)
    return View(
        subject=words.subject(digest.period.cadence, digest.organization_name),
        title=rules.title,
        organization=digest.organization_name,
        period=words.period_name(digest.period),
        verdict=sentence,
        tone=tone,
        tiles=headline.tiles(digest),
        notes=headline.notes(digest),
        sections=tuple(sections),
        explanations=(headline.ABOUT_COVERAGE, headline.ABOUT_KINETIC),
        timezone=digest.period.timezone,
    )


def _overview(context: Context, unit_rows: int) -> list[Section]:
    rows_left = unit_rows
    by_grade: dict[UnitGrade, Section] = {}
    for grade in UnitGrade:
        units = of_grade(context.digest.units, grade)
        if not units:
            continue
        table = units_table(units, context, Limit(max(1, rows_left), NOT_SHOWN))
        rows_left -= len(table.rows)
        by_grade[grade] = Section(HEADINGS[grade], table=table)
    problems = [by_grade[one] for one in (UnitGrade.OPEN, UnitGrade.RECOVERED, UnitGrade.REMOVED) if one in by_grade]
    others = [by_grade[one] for one in (UnitGrade.NOT_GRADED, UnitGrade.GOOD) if one in by_grade]
    return [
        *problems,
        *alerts_section(context, Limit(unit_rows // 4, NOT_SHOWN)),
        *curves_section(context),
        *revisions_sections(context, SHORT),
        *others,
    ]


def _compliance(context: Context, unit_rows: int) -> list[Section]:
    gaps = gaps_table(context, Limit(SHORT, IN_THE_PDF))
    return [
        Section(
            "Compliance by unit",
            lead="The attached PDF lists every excursion and gap, with lines for corrective action and signature.",
            table=compliance_table(context, Limit(unit_rows * 5 // 6, IN_THE_PDF)),
        ),
        *alerts_section(context, Limit(unit_rows // 4, IN_THE_PDF)),
        *([Section("Longest gaps", table=gaps)] if gaps.rows else []),
        *curves_section(context),
        *revisions_sections(context, SHORT),
    ]
