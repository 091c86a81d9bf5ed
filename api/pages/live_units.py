"""Reads what the live page needs: the units with their limits, and who has acknowledged which alert."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from sqlalchemy import select

from api.pages.tiles import Fact, OpenAlert, Tile, tile
from database.configuration import RuleRow, UnitRow
from database.declarative import to_ms
from database.records import AlertRow
from domain.detection.offline import patience_ms
from schemas import messages as m

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from api.pages.live_feed import LiveFeed


async def facts(
    session: AsyncSession, organization_id: str, *, site: str | None = None, unit_ids: Collection[str] | None = None
) -> list[Fact]:
    """The organization's units, or those of a site, or those named."""
    wanted = select(UnitRow).where(UnitRow.organization_id == organization_id)
    if site is not None:
        wanted = wanted.where(UnitRow.gateway_id.is_(None) if site == "" else UnitRow.gateway_id == site)
    if unit_ids is not None:
        wanted = wanted.where(UnitRow.unit_id.in_(unit_ids))
    units = list(await session.scalars(wanted.order_by(UnitRow.unit_id)))
    limits = await _limits(session, [unit.unit_id for unit in units])
    return [_fact(unit, *limits.get(unit.unit_id, (None, None))) for unit in units]


def _fact(unit: UnitRow, low_c: float | None, high_c: float | None) -> Fact:
    return Fact(
        unit_id=unit.unit_id,
        name=unit.name,
        site=unit.gateway_id or "",
        high_c=high_c,
        low_c=low_c,
        patience_ms=patience_ms(unit),
    )


async def _limits(session: AsyncSession, unit_ids: Sequence[str]) -> dict[str, tuple[float | None, float | None]]:
    """The narrowest limits of each unit's rules."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: {"high": [], "low": []})
    for rule in await session.scalars(select(RuleRow).where(RuleRow.unit_id.in_(unit_ids))):
        found[rule.unit_id][rule.limit_side].append(rule.limit_c)
    return {
        unit_id: (max(sides["low"], default=None), min(sides["high"], default=None)) for unit_id, sides in found.items()
    }


async def open_alerts(
    session: AsyncSession, organization_id: str, feed: LiveFeed, unit_ids: Collection[str] | None = None
) -> dict[str, list[OpenAlert]]:
    """What fires by unit: what the topic says goes before what is recorded, which follows a moment later."""
    wanted = select(AlertRow).where(AlertRow.organization_id == organization_id, AlertRow.resolved_at.is_(None))
    if unit_ids is not None:
        wanted = wanted.where(AlertRow.unit_id.in_(unit_ids))
    found: dict[str, dict[str, OpenAlert]] = defaultdict(dict)
    for row in await session.scalars(wanted):
        if row.alert_id not in feed.resolved:
            found[row.unit_id][row.alert_id] = OpenAlert(
                alert_id=row.alert_id,
                kind=m.AlertKind(row.kind),
                severity=m.Severity(row.severity),
                started_at_ms=to_ms(row.started_at),
                acknowledged_by=row.acknowledged_by,
            )
    for unit_id in list(feed.alerts) if unit_ids is None else unit_ids:
        for alert in list(feed.alerts.get(unit_id, {}).values()):
            if alert.organization_id == organization_id and alert.alert_id not in found[unit_id]:
                found[unit_id][alert.alert_id] = OpenAlert(
                    alert_id=alert.alert_id,
                    kind=alert.kind,
                    severity=alert.severity,
                    started_at_ms=alert.started_at_ms,
                )
    return {unit_id: list(alerts.values()) for unit_id, alerts in found.items()}


def tiles(facts: Sequence[Fact], alerts: dict[str, list[OpenAlert]], feed: LiveFeed, now_ms: int) -> list[Tile]:
    return [_tile(fact, alerts.get(fact.unit_id, []), feed, now_ms) for fact in facts]


def _tile(fact: Fact, alerts: Sequence[OpenAlert], feed: LiveFeed, now_ms: int) -> Tile:
    known = feed.units.get(fact.unit_id)
    if known is None:
        return tile(fact, None, None, (), alerts, now_ms)
    return tile(fact, known.at_ms, known.temperature_c, known.line(now_ms), alerts, now_ms)
