"""The tables of alerts, gaps and revisions, and the charts of units."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from domain.digest import words
from domain.digest.columns import Column, Context, Limit, table
from domain.digest.facts import AlertRecord, Revision, UnitDigest
from domain.digest.gaps import Gap
from domain.digest.revisions import by_period
from domain.digest.unit_tables import out_of_range
from domain.digest.view import Picture, Section, Tone
from schemas import messages as m
from schemas.identity import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.digest.view import Table

UnitGap: TypeAlias = tuple[UnitDigest, Gap]


def _is_open(alert: AlertRecord, context: Context) -> bool:
    return alert.resolved_at_ms is None or alert.resolved_at_ms > context.digest.as_of_ms


def _unit_name(alert: AlertRecord, context: Context) -> str:
    units = context.digest.units
    return next((unit.name for unit in units if unit.unit_id == alert.unit_id), plain(alert.unit_id))


def _when(alert: AlertRecord, context: Context) -> str:
    if alert.resolved_at_ms is None or _is_open(alert, context):
        return f"since {context.moment(alert.started_at_ms)}"
    return context.stretch(alert.started_at_ms, alert.resolved_at_ms)


def _lasted(alert: AlertRecord, context: Context) -> str:
    if alert.resolved_at_ms is None or _is_open(alert, context):
        return "still open"
    return words.duration(alert.resolved_at_ms - alert.started_at_ms)


def _acknowledged(alert: AlertRecord, context: Context) -> str:
    if alert.acknowledged_at_ms is None:
        return "no"
    return f"{plain(alert.acknowledged_by or 'yes')}, {context.moment(alert.acknowledged_at_ms)}"


ALERT_COLUMNS: tuple[Column[AlertRecord], ...] = (
    Column("Unit", _unit_name, is_text=True, width=2.0),
    Column("Alert", lambda alert, _: f"{alert.severity}: {words.problem(alert.kind)}", is_text=True, width=1.7),
    Column("When", _when, is_text=True, width=2.5),
    Column("Lasted", _lasted, is_text=True),
    Column("Extreme", lambda alert, context: context.temperature(alert.extreme_c, alert.limit_c), is_text=True),
    Column("Acknowledged", _acknowledged, is_text=True, width=1.8),
)
GAP_COLUMNS: tuple[Column[UnitGap], ...] = (
    Column("Unit", lambda pair, _: pair[0].name, is_text=True, width=3.6),
    Column(
        "When",
        lambda pair, context: context.stretch(pair[1].starts_at_ms, pair[1].ends_at_ms),
        is_text=True,
        width=4.4,
    ),
    Column("Without readings", lambda pair, _: words.duration(pair[1].missing_ms), width=2.0),
)
REVISION_COLUMNS: tuple[Column[Revision], ...] = (
    Column("Unit", lambda one, _: one.name, is_text=True),
    Column("Readings", lambda one, _: f"{one.was.readings:,} → {one.now.readings:,}"),
    Column("Out of range", lambda one, _: f"{words.duration(one.was.out_ms)} → {words.duration(one.now.out_ms)}"),
    Column(
        "Max",
        lambda one, context: f"{context.temperature(one.was.max_c)} → {context.temperature(one.now.max_c)}",
    ),
)


def alerts_table(alerts: Sequence[AlertRecord], context: Context, limit: Limit) -> Table:
    def tone(alert: AlertRecord) -> Tone:
        if _is_open(alert, context):
            return Tone.BAD
        return Tone.WARN if alert.severity is m.Severity.CRITICAL else Tone.PLAIN

    def remark(alert: AlertRecord) -> str:
        return "" if alert.paging else f"nobody was paged: {alert.silent_because or 'silenced'}"

    return table(ALERT_COLUMNS, alerts, context, limit, "alert", tone=tone, remark=remark)


def alerts_section(context: Context, limit: Limit) -> list[Section]:
    alerts = context.digest.alerts
    return [Section("Alerts", table=alerts_table(alerts, context, limit))] if alerts else []


def gaps_table(context: Context, limit: Limit) -> Table:
    """The longest gaps first."""
    found = [(unit, gap) for unit in context.digest.units for gap in unit.gaps]
    found.sort(key=lambda pair: (-pair[1].missing_ms, pair[0].name.casefold(), pair[1].starts_at_ms))
    return table(GAP_COLUMNS, found, context, limit, "gap", tone=lambda _: Tone.UNKNOWN)


def revisions_sections(context: Context, rows: int) -> list[Section]:
    """What late readings changed in earlier periods, one section each; empty when nothing did."""

    def tone(one: Revision) -> Tone:
        return Tone.WARN if one.now.out_ms > one.was.out_ms else Tone.PLAIN

    return [
        Section(
            title=f"Corrected since the last report: {words.period_name(period)}",
            lead="Readings that arrived late changed these numbers, which an earlier mail reported.",
            table=table(REVISION_COLUMNS, found, context, Limit(rows, "changed as well"), "unit", tone=tone),
        )
        for period, found in by_period(context.digest.revisions)
    ]


def curves_section(context: Context) -> list[Section]:
    """One chart a unit; its content id is `curve-N`, in the order of `digest.curves`."""
    pictures = tuple(
        Picture(f"curve-{number}", curve.name, _curve_in_words(context, curve.unit_id))
        for number, curve in enumerate(context.digest.curves)
    )
    return [Section("Temperature over time", pictures=pictures)] if pictures else []


def _curve_in_words(context: Context, unit_id: str) -> str:
    unit = next(unit for unit in context.digest.units if unit.unit_id == unit_id)
    return (
        f"{context.temperature(unit.min_c)} to {context.temperature(unit.max_c)}, "
        f"limits {words.limits(unit.high_c, unit.low_c, context.display_unit)}, out of range {out_of_range(unit)}"
    )
