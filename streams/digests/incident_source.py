"""Reads from SQL what happened in a period besides readings: alerts, and what became of SMS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from database.declarative import to_ms
from database.notifications import SmsAlertLogRow
from database.records import AlertRow
from domain.digest.facts import AlertRecord, SmsCounts
from schemas import messages as m

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from domain.digest.schedule import Period


async def alerts(connection: AsyncConnection, organization_id: str, period: Period) -> list[AlertRecord]:
    alert = AlertRow.__table__.c
    rows = await connection.execute(
        select(AlertRow.__table__)
        .where(alert.organization_id == organization_id, alert.started_at < period.ends_at)
        .where(alert.resolved_at.is_(None) | (alert.resolved_at >= period.starts_at))
    )
    return [
        AlertRecord(
            alert_id=row.alert_id,
            unit_id=row.unit_id,
            kind=m.AlertKind(row.kind),
            severity=m.Severity(row.severity),
            started_at_ms=to_ms(row.started_at),
            resolved_at_ms=None if row.resolved_at is None else to_ms(row.resolved_at),
            extreme_c=row.temperature_c if row.extreme_c is None else row.extreme_c,
            limit_c=row.limit_c,
            paging=row.paging,
            silent_because=row.silent_because,
            acknowledged_at_ms=None if row.acknowledged_at is None else to_ms(row.acknowledged_at),
            acknowledged_by=row.acknowledged_by,
            corrective_action=row.acknowledgement_note,
        )
        for row in rows
    ]


async def sms_counts(
    connection: AsyncConnection, organization_id: str, period: Period, unit_ids: Sequence[str] = ()
) -> SmsCounts:
    """Counts requests, not attempts, about alerts of `unit_ids`, or all."""
    entry = SmsAlertLogRow.__table__.c
    wanted = (
        select(entry.outcome, func.count(entry.request_id.distinct()))
        .where(entry.organization_id == organization_id)
        .where(entry.at >= period.starts_at, entry.at < period.ends_at)
        .group_by(entry.outcome)
    )
    if unit_ids:
        alert = AlertRow.__table__.c
        wanted = wanted.where(entry.alert_id.in_(select(alert.alert_id).where(alert.unit_id.in_(list(unit_ids)))))
    rows = await connection.execute(wanted)
    counts = {row[0]: int(row[1]) for row in rows}
    return SmsCounts(
        sent=counts.get("sent", 0),
        delivered=counts.get("delivered", 0),
        failed=counts.get("dead", 0),
        suppressed=counts.get("rate_limited", 0),
        opted_out=counts.get("opted_out", 0),
    )
