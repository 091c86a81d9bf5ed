"""Alerts: what fires, what happened to it, and a person's orders about it."""

from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from api import idempotency, paging
from api.contacts import contact_of
from api.keys import Caller
from api.problems import conflict, not_found, responses
from api.services import Reader, Services, Used
from schemas import messages as m
from schemas.database.declarative import from_ms, to_ms
from schemas.database.outbox import publish_command
from schemas.database.records import AlertRow, AlertTimelineRow
from schemas.http import Id, Instant, Page
from schemas.http_alerts import AlertView, Order, Ordered, TimelineEntry
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


def _now_to_the_millisecond(services: Services) -> datetime:
    # Messages and cursors carry milliseconds; the row says the same instant.
    return from_ms(to_ms(services.now()))


async def _ordering(session: AsyncSession, caller: Caller, order: Order | None) -> str:
    if order is None or order.user_id is None:
        return caller.name
    return (await contact_of(session, caller, order.user_id)).user_id


def _ordered(alert_id: str, at: datetime, by: str) -> Response:
    view = Ordered(alert_id=alert_id, at=at, by=by)
    return Response(view.model_dump_json(), HTTPStatus.ACCEPTED, media_type="application/json")


@router.post(
    "/v1/alerts/{alert_id}/acknowledge",
    status_code=HTTPStatus.ACCEPTED,
    response_model=Ordered,
    responses=responses(409),
    openapi_extra=idempotency.DOCUMENTED,
)
async def acknowledge(
    alert_id: AlertId, caller: Reader, services: Used, request: Request, order: Order | None = None
) -> Response:
    """Take an alert on: reminders stop. Whoever comes second is told who was first."""

    async def work(session: AsyncSession) -> Response:
        row = await alert_of(session, caller, alert_id, lock=True)
        by = await _ordering(session, caller, order)
        if row.acknowledged_at is not None:
            return _ordered(alert_id, row.acknowledged_at, row.acknowledged_by or "")
        if row.resolved_at is not None:
            raise conflict("This alert is resolved; there is nothing to acknowledge.")
        at = _now_to_the_millisecond(services)
        row.acknowledged_at, row.acknowledged_by, row.acknowledged_via = at, by, "api"
        session.add(_entry(row, at, "acknowledged", by))
        await session.flush()
        await publish_command(
            session,
            m.Acknowledge(
                alert_id=alert_id,
                unit_id=row.unit_id,
                organization_id=row.organization_id,
                user_id=by,
                at_ms=to_ms(at),
                via="api",
            ),
        )
        return _ordered(alert_id, at, by)

    return await idempotency.once(request, caller, services, work)


@router.post(
    "/v1/alerts/{alert_id}/notify",
    status_code=HTTPStatus.ACCEPTED,
    response_model=Ordered,
    responses=responses(409),
    openapi_extra=idempotency.DOCUMENTED,
)
async def notify(
    alert_id: AlertId, caller: Reader, services: Used, request: Request, order: Order | None = None
) -> Response:
    """Tell the people on duty now, also about an alert that was kept silent."""

    async def work(session: AsyncSession) -> Response:
        row = await alert_of(session, caller, alert_id, lock=True)
        by = await _ordering(session, caller, order)
        if row.resolved_at is not None:
            raise conflict("This alert is resolved; nobody needs to be told.")
        at = _now_to_the_millisecond(services)
        session.add(_entry(row, at, "notify_now", by))
        await session.flush()
        await publish_command(
            session,
            m.NotifyNow(
                alert_id=alert_id,
                unit_id=row.unit_id,
                organization_id=row.organization_id,
                user_id=by,
                at_ms=to_ms(at),
            ),
        )
        return _ordered(alert_id, at, by)

    return await idempotency.once(request, caller, services, work)


def _entry(row: AlertRow, at: datetime, event: str, by: str) -> AlertTimelineRow:
    return AlertTimelineRow(
        alert_id=row.alert_id,
        organization_id=row.organization_id,
        at=at,
        event=event,
        user_id=by,
        detail={"via": "api"},
    )
