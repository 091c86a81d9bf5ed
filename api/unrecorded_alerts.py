"""Alerts that the recorder has not written yet: an acknowledgement must not wait for SQL to catch up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import select

from database.declarative import from_ms, to_ms
from database.records import AlertRow, AlertTimelineRow
from outbox.topic_scan import TopicReadError, scan
from schemas import messages as m
from schemas.topics import ALERTS

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from broker.settings import KafkaSettings

log = structlog.get_logger(__name__)

LOOK_BACK_MS = 24 * 3_600_000
READ_LIMIT_S = 5.0
# Each look is a consumer of its own; ids that nobody knows must not open many.
_places = asyncio.Semaphore(2)


async def unrecorded_alert(kafka: KafkaSettings, organization_id: str, alert_id: str, now: datetime) -> AlertRow | None:
    """The organization's alert as the last day of `alerts` has it, as a row of no session; None without one."""
    async with _places:
        try:
            events = await asyncio.to_thread(_events_of, kafka, alert_id, to_ms(now) - LOOK_BACK_MS)
        except TopicReadError as error:
            log.warning("alerts.not_searched", alert=alert_id, why=str(error))
            return None
    mine = [event for event in events if event.organization_id == organization_id]
    if not mine:
        return None
    first, newest = mine[0], mine[-1]
    ended = next((event for event in mine if isinstance(event, m.AlertResolved)), None)
    return AlertRow(
        alert_id=alert_id,
        unit_id=first.unit_id,
        organization_id=organization_id,
        rule_id=first.rule_id,
        kind=first.kind.value,
        severity=newest.severity.value,
        started_at=from_ms(first.started_at_ms),
        triggered_at=from_ms(first.at_ms),
        resolved_at=None if ended is None else from_ms(ended.at_ms),
    )


def _events_of(kafka: KafkaSettings, alert_id: str, since_ms: int) -> list[m.Alert]:
    # Most records are about others: decoding is for those that name it.
    named = alert_id.encode()
    values = (value for _, value in scan(kafka, ALERTS, limit_s=READ_LIMIT_S, since_ms=since_ms))
    events = map(_decoded, (value for value in values if value is not None and named in value))
    found = [event for event in events if event is not None and event.alert_id == alert_id]
    return sorted(found, key=lambda event: event.at_ms)


def _decoded(value: bytes) -> m.Alert | None:
    try:
        return ALERTS.decode(value)
    except ValueError:
        return None  # its own flow makes a dead letter of it


async def with_first_acknowledgement(session: AsyncSession, alert: AlertRow) -> AlertRow:
    """The alert with what its timeline knows already: commands are written there before their alert is."""
    first = select(AlertTimelineRow).where(
        AlertTimelineRow.alert_id == alert.alert_id, AlertTimelineRow.event == "acknowledged"
    )
    known = (await session.scalars(first.order_by(AlertTimelineRow.at).limit(1))).first()
    if known is not None:
        alert.acknowledged_at, alert.acknowledged_by = known.at, known.user_id
    return alert
