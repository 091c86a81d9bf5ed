"""The monthly analytics: the month against the one before, day by day, and the worst units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.digest import tables, words
from domain.digest.facts import UnitGrade
from domain.digest.view import Picture, Row, Section, Table
from schemas import messages as m

if TYPE_CHECKING:
    from collections.abc import Callable

    from domain.digest.facts import Digest, Sums

WORST = 10
CHART = "days"


def monthly(digest: Digest, display_unit: str, where: str) -> list[Section]:
    worst = [unit for unit in digest.units if unit.out_ms or unit.alerts]
    worst.sort(key=lambda unit: (-unit.out_ms, -unit.critical_alerts, -unit.alerts, unit.name.casefold()))
    silent = tables.of_grade(digest.units, UnitGrade.NOT_GRADED)
    lead = "" if digest.before else "There is no month before to compare with."
    sections = [
        Section("Compared with the month before", lead=lead, table=_trend(digest)),
        Section(
            "Day by day",
            pictures=(Picture(CHART, "Time out of range (bars) and alerts (figures)", _days_in_words(digest)),),
        ),
    ]
    if worst:
        table = tables.units_table(worst[:WORST], display_unit, WORST, where)
        lead = f"The first {WORST} of {len(worst):,} with a problem." if len(worst) > WORST else ""
        sections.append(Section("Worst units", lead=lead, table=table))
    if silent:
        sections.append(Section("Not graded", table=tables.units_table(silent, display_unit, WORST, where)))
    return sections + tables.revisions_section(digest, display_unit, WORST)


def _trend(digest: Digest) -> Table:
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
    rows.insert(
        2,
        Row(
            (
                "Coverage",
                words.percent(now.coverage),
                words.percent(before.coverage) if before else words.NOTHING,
                f"{(now.coverage - before.coverage) * 100:+.1f} points" if before else words.NOTHING,
            )
        ),
    )
    return Table(("", "This month", "Month before", "Change"), tuple(rows))


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


def _days_in_words(digest: Digest) -> str:
    if not digest.days:
        return "No readings in this month."
    worst = max(digest.days, key=lambda day: day.out_ms)
    alerts = max(digest.days, key=lambda day: day.alerts)
    if not worst.out_ms and not alerts.alerts:
        return "No time out of range and no alert on any day."
    return (
        f"Most time out of range: {words.duration(worst.out_ms)} in all units together on {worst.on:%-d %B}. "
        f"Most alerts: {alerts.alerts} on {alerts.on:%-d %B}."
    )
