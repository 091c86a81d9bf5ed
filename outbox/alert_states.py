"""Which alerts have ended or were acknowledged, according to the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from database.records import AlertRow
from domain.redrive.redrive import AlertState

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.ext.asyncio import AsyncSession


async def alert_states(session: AsyncSession, alert_ids: Collection[str]) -> dict[str, AlertState]:
    """By alert id, without those that the database does not have."""
    if not alert_ids:
        return {}
    rows = await session.execute(
        select(AlertRow.alert_id, AlertRow.resolved_at, AlertRow.acknowledged_at, AlertRow.acknowledged_by).where(
            AlertRow.alert_id.in_(set(alert_ids))
        )
    )
    return {
        row.alert_id: AlertState(
            resolved=row.resolved_at is not None,
            acknowledged_by=None if row.acknowledged_at is None else row.acknowledged_by or "somebody",
        )
        for row in rows
    }
