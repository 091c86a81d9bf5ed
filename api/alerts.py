"""Alerts: what fires, and what happened to it. A person's orders about it are in `alert_orders`."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path, Query
from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from api import paging
from api.keys import Caller
from api.problems import not_found, responses
from api.services import Reader, Used
from database.declarative import to_ms
from database.records import AlertRow, AlertTimelineRow
from schemas.http.alerts import AlertView, TimelineEntry
from schemas.http.fields import Id, Instant
from schemas.http.paging import Page
from schemas.messages import AlertKind, Severity

router = APIRouter(tags=["alerts"], responses=responses(400, 401, 403, 404, 422, 429, 503))

AlertId = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class State(StrEnum):
    """`open` fires and nobody acknowledged it."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


async def alert_of(session: AsyncSession, caller: Caller, alert_id: str, *, lock: bool = False) -> AlertRow:
    """The caller's alert; raises Problem (404) also when it is another organization's."""
    wanted = select(AlertRow).where(AlertRow.alert_id == alert_id, AlertRow.organization_id == caller.organization_id)
    row = (await session.scalars(wanted.with_for_update() if lock else wanted)).one_or_none()
    if row is None:
        raise not_found("alert", alert_id)
    return row


def _view(row: AlertRow) -> AlertView:
    return AlertView(
        alert_id=row.alert_id,
        unit_id=row.unit_id,
        rule_id=row.rule_id,
        kind=AlertKind(row.kind),
        severity=Severity(row.severity),
        started_at=row.started_at,
        triggered_at=row.triggered_at,
        resolved_at=row.resolved_at,
        resolved_because=row.resolved_because,
        acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by,
        acknowledged_via=row.acknowledged_via,
        paging=row.paging,
        silent_because=row.silent_because,
        temperature_c=row.temperature_c,
        limit_c=row.limit_c,
        extreme_c=row.extreme_c,
    )


@router.get("/v1/alerts")
async def list_alerts(
    caller: Reader,
    services: Used,
    limit: paging.Limit = 50,
    cursor: paging.Cursor = None,
    state: Annotated[State | None, Query(description="Only these")] = None,
    severity: Annotated[Severity | None, Query(description="Only these")] = None,
    unit_id: Annotated[Id | None, Query(description="Only this unit's")] = None,
    since: Annotated[Instant | None, Query(description="Began at or after this")] = None,
    until: Annotated[Instant | None, Query(description="Began before this")] = None,
) -> Page[AlertView]:
    """Alerts, the newest first."""
    after = paging.position(cursor, int, str)
    wanted = select(AlertRow).where(AlertRow.organization_id == caller.organization_id)
    if after is not None:
        place = (paging.instant(after[0]), str(after[1]))
        wanted = wanted.where(tuple_(AlertRow.started_at, AlertRow.alert_id) < place)
    match state:
        case State.OPEN:
            wanted = wanted.where(AlertRow.resolved_at.is_(None), AlertRow.acknowledged_at.is_(None))
        case State.ACKNOWLEDGED:
            wanted = wanted.where(AlertRow.resolved_at.is_(None), AlertRow.acknowledged_at.is_not(None))
        case State.RESOLVED:
            wanted = wanted.where(AlertRow.resolved_at.is_not(None))
        case None:
            pass
    if severity is not None:
        wanted = wanted.where(AlertRow.severity == severity)
    if unit_id is not None:
        wanted = wanted.where(AlertRow.unit_id == unit_id)
    if since is not None:
        wanted = wanted.where(AlertRow.started_at >= since)
    if until is not None:
        wanted = wanted.where(AlertRow.started_at < until)
    order = (AlertRow.started_at.desc(), AlertRow.alert_id.desc())
    async with services.transaction() as session:
        rows = list(await session.scalars(wanted.order_by(*order).limit(limit + 1)))
    return paging.page(rows, limit, _view, lambda row: paging.cursor_of(to_ms(row.started_at), row.alert_id))


@router.get("/v1/alerts/{alert_id}")
async def get_alert(alert_id: AlertId, caller: Reader, services: Used) -> AlertView:
    """One alert as it stands."""
    async with services.transaction() as session:
        return _view(await alert_of(session, caller, alert_id))


@router.get("/v1/alerts/{alert_id}/timeline")
async def get_timeline(
    alert_id: AlertId, caller: Reader, services: Used, limit: paging.Limit = 50, cursor: paging.Cursor = None
) -> Page[TimelineEntry]:
    """Everything that happened to an alert, in its order."""
    after = paging.position(cursor, int, int)
    wanted = select(AlertTimelineRow).where(AlertTimelineRow.alert_id == alert_id)
    if after is not None:
        place = (paging.instant(after[0]), int(after[1]))
        wanted = wanted.where(tuple_(AlertTimelineRow.at, AlertTimelineRow.entry_id) > place)
    async with services.transaction() as session:
        await alert_of(session, caller, alert_id)
        order = (AlertTimelineRow.at, AlertTimelineRow.entry_id)
        rows = list(await session.scalars(wanted.order_by(*order).limit(limit + 1)))
    return paging.page(
        rows,
        limit,
        lambda row: TimelineEntry(at=row.at, event=row.event, user_id=row.user_id, detail=row.detail),
        lambda row: paging.cursor_of(to_ms(row.at), row.entry_id),
    )
