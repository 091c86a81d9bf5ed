"""Analytics: the period against the one before, day by day, and the worst units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.digest import words
from domain.digest.cadences import CADENCES
from domain.digest.columns import Context, Limit
from domain.digest.facts import UnitGrade
from domain.digest.tables import revisions_sections
from domain.digest.unit_tables import of_grade, units_table
from domain.digest.view import Heading, Picture, Row, Section, Table
from schemas import messages as m

if TYPE_CHECKING:
    from collections.abc import Callable

    from domain.digest.facts import Digest, Sums

WORST = 10
CHART = "days"


def analytics(context: Context, where: str) -> list[Section]:
    digest = context.digest
    worst = [unit for unit in digest.units if unit.out_ms or unit.alerts]
    worst.sort(key=lambda unit: (-unit.out_ms, -unit.critical_alerts, -unit.alerts, unit.name.casefold()))
    not_graded = of_grade(digest.units, UnitGrade.NOT_GRADED)
    noun, limit = CADENCES[digest.period.cadence].noun, Limit(WORST, where)
    lead = "" if digest.before else f"There is no {noun} before to compare with."
    sections = [
        Section(f"Compared with the {noun} before", lead=lead, table=_trend(digest, noun)),
        Section(
            "Day by day",
            pictures=(Picture(CHART, "Time out of range (bars) and alerts (figures)", _days_in_words(digest, noun)),),
        ),
    ]
    if worst:
        lead = f"The first {WORST} of {len(worst):,} with a problem." if len(worst) > WORST else ""
        sections.append(Section("Worst units", lead=lead, table=units_table(worst[:WORST], context, limit)))
    if not_graded:
        sections.append(Section("Not graded", table=units_table(not_graded, context, limit)))
    return sections + revisions_sections(context, WORST)


def _trend(digest: Digest, noun: str) -> Table:
    now, before = digest.sums, digest.before
    lines: list[tuple[str, Callable[[Sums], int], Callable[[int], str]]] = [
        ("Readings", lambda sums: sums.numbers.total_readings, _plain),
        ("Time out of range", lambda sums: sums.out_ms, words.duration),
        ("Excursions", lambda sums: sums.excursions, _plain),
        ("Alerts", lambda sums: sums.numbers.total_alerts, _plain),
        ("Alerts: critical", lambda sums: sums.by_severity[m.Severity.CRITICAL.rank], _plain),
        ("Alerts: warning", lambda sums: sums.by_severity[m.Severity.WARNING.rank], _plain),
        ("Alerts: info", lambda sums: sums.by_severity[m.Severity.INFO.rank], _plain),
        ("SMS sent", lambda sums: sums.sms.sent, _plain),
        ("SMS delivered", lambda sums: sums.sms.delivered, _plain),
        ("SMS failed", lambda sums: sums.sms.failed, _plain),
        ("SMS suppressed by the rate limit", lambda sums: sums.sms.suppressed, _plain),
        ("SMS withheld after STOP", lambda sums: sums.sms.opted_out, _plain),
    ]
    rows = [_line(label, of(now), of(before) if before else None, show) for label, of, show in lines]
    coverage = words.percent(before.coverage) if before else words.NOTHING
    change = f"{(now.coverage - before.coverage) * 100:+.1f} points" if before else words.NOTHING
    rows.insert(2, Row(("Coverage", words.percent(now.coverage), coverage, change)))
    headings = (Heading("", is_text=True), *map(Heading, (f"This {noun}", f"{noun.capitalize()} before", "Change")))
    return Table(headings, tuple(rows))


def _plain(number: int) -> str:
    return f"{number:,}"


def _line(label: str, now: int, before: int | None, show: Callable[[int], str]) -> Row:
    if before is None:
        return Row((label, show(now), words.NOTHING, words.NOTHING))
    if now == before:
        change = "the same"
    elif before:
        change = f"{(now - before) / before:+.0%}"
    else:
        change = "new"
    return Row((label, show(now), show(before), change))


def _days_in_words(digest: Digest, noun: str) -> str:
    if not digest.days:
        return f"No readings in this {noun}."
    worst = max(digest.days, key=lambda day: day.out_ms)
    alerts = max(digest.days, key=lambda day: day.alerts)
    if not worst.out_ms and not alerts.alerts:
        return "No time out of range and no alert on any day."
    return (
        f"Most time out of range: {words.duration(worst.out_ms)} in all units together on {worst.on:%-d %B}. "
        f"Most alerts: {alerts.alerts} on {alerts.on:%-d %B}."
    )
