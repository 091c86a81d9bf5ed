"""Alerts and their timelines. Commands about an alert are in `alert_commands`."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path, Query
from sqlalchemy import select

from api import paging
from api.moments import Moment, instant_of
from api.ownership import row_of
from api.problems import responses
from api.services import Reader, Used
from database.alert_events import AlertEventRow
from database.records import AlertRow
from domain.personal_data import masked_text
from schemas.http.alerts import AlertView, TimelineEntry
from schemas.http.fields import Id
from schemas.http.paging import Page
from schemas.identity import plain_each
from schemas.messages import Severity

router = APIRouter(tags=["alerts"], responses=responses(400, 401, 403, 404, 422, 429, 503))

AlertId = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
LISTS_OF_USERS = {"users", "not_asked"}
NEWEST_FIRST = paging.Order(AlertRow.started_at, AlertRow.alert_id, newest_first=True)
IN_ORDER = paging.Order(AlertEventRow.at, AlertEventRow.place)


class State(StrEnum):
    """`open`: fires, and nobody has acknowledged it."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


@router.get("/v1/alerts")
async def list_alerts(
    caller: Reader,
    services: Used,
    wanted: paging.Wanted,
    state: Annotated[State | None, Query(description="Only these")] = None,
    severity: Annotated[Severity | None, Query(description="Only these")] = None,
    unit_id: Annotated[Id | None, Query(description="Only this unit's")] = None,
    since: Annotated[Moment | None, Query(description="Began at or after this")] = None,
    until: Annotated[Moment | None, Query(description="Began before this")] = None,
) -> Page[AlertView]:
    """Alerts, the newest first."""
    alerts = select(AlertRow).where(AlertRow.organization_id == caller.organization_id)
    match state:
        case State.OPEN:
            alerts = alerts.where(AlertRow.resolved_at.is_(None), AlertRow.acknowledged_at.is_(None))
        case State.ACKNOWLEDGED:
            alerts = alerts.where(AlertRow.resolved_at.is_(None), AlertRow.acknowledged_at.is_not(None))
        case State.RESOLVED:
            alerts = alerts.where(AlertRow.resolved_at.is_not(None))
        case None:
            pass
    if severity is not None:
        alerts = alerts.where(AlertRow.severity == severity)
    if unit_id is not None:
        alerts = alerts.where(AlertRow.unit_id == caller.qualified(unit_id))
    async with services.transaction() as session:
        if (begin := await instant_of(session, caller, "since", since)) is not None:
            alerts = alerts.where(AlertRow.started_at >= begin)
        if (end := await instant_of(session, caller, "until", until)) is not None:
            alerts = alerts.where(AlertRow.started_at < end)
        found = await NEWEST_FIRST.find(session, alerts, wanted)
    return found.page(AlertView.model_validate)


@router.get("/v1/alerts/{alert_id}")
async def get_alert(alert_id: AlertId, caller: Reader, services: Used) -> AlertView:
    """One alert as it is now."""
    async with services.transaction() as session:
        return AlertView.model_validate(await row_of(session, AlertRow, caller, alert_id))


@router.get("/v1/alerts/{alert_id}/timeline")
async def get_timeline(alert_id: AlertId, caller: Reader, services: Used, wanted: paging.Wanted) -> Page[TimelineEntry]:
    """Everything that happened to an alert, the oldest first: its steps, each SMS about it, and what became of that."""
    entries = select(AlertEventRow).where(AlertEventRow.alert_id == alert_id)
    async with services.transaction() as session:
        await row_of(session, AlertRow, caller, alert_id)
        found = await IN_ORDER.find(session, entries, wanted)
    return found.page(_entry)


def _entry(row: AlertEventRow) -> TimelineEntry:
    # Providers put numbers and addresses into their errors.
    detail = row.detail | ({"error": masked_text(row.detail["error"])} if "error" in row.detail else {})
    detail |= {name: plain_each(detail[name]) for name in LISTS_OF_USERS & detail.keys()}
    return TimelineEntry(at=row.at, event=row.event, user_id=row.user_id, detail=detail)
