"""Alerts for the person on call: what is open, what happened, and the one button that matters."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Annotated, TypeVar

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api import alert_commands
from api.alerts import AlertId
from api.organizations import organization_of
from api.ownership import row_of
from api.pages.alert_words import alert_line, entry_line
from api.pages.rendering import page
from api.pages.viewer import Looking, form_of
from api.problems import Problem
from api.services import Used
from database.alert_events import AlertEventRow
from database.configuration import ContactRow, UnitRow
from database.declarative import to_ms
from database.records import AlertRow
from schemas.http.alerts import Acknowledgement, AlertOrder, SilenceOrder
from schemas.identity import plain

router = APIRouter(include_in_schema=False)

Order = TypeVar("Order", bound=AlertOrder)
SHOWN = 100
SNOOZES = frozenset({"30", "60", "240", "720"})
MOST_ENTRIES = 1_000


@router.get("/alerts")
async def show_alerts(viewer: Looking, services: Used, past: Annotated[str, Query(max_length=10)] = "") -> Response:
    """What fires, the unanswered first; with `past`, what is over, the newest first."""
    ended = past == "yes"
    mine = select(AlertRow).where(AlertRow.organization_id == viewer.caller.organization_id)
    if ended:
        wanted = mine.where(AlertRow.resolved_at.is_not(None)).order_by(AlertRow.started_at.desc())
    else:
        wanted = mine.where(AlertRow.resolved_at.is_(None)).order_by(
            AlertRow.acknowledged_at.is_not(None), AlertRow.started_at.desc()
        )
    async with services.transaction() as session:
        organization = await organization_of(session, viewer.caller.organization_id)
        rows = list(await session.scalars(wanted.limit(SHOWN)))
        names = await _unit_names(session, {row.unit_id for row in rows}, viewer.caller.organization_id)
        people = await _people(session, viewer.caller.organization_id)
    now_ms = to_ms(services.now())
    lines = [
        alert_line(row, names.get(row.unit_id, plain(row.unit_id)), organization.display_unit, now_ms) for row in rows
    ]
    return page(
        "alerts.html",
        viewer,
        section="Alerts",
        lines=lines,
        people=people,
        ended=ended,
        timezone=organization.timezone,
        most=SHOWN,
    )


async def _unit_names(session: AsyncSession, unit_ids: Iterable[str], organization_id: str) -> dict[str, str]:
    mine = UnitRow.organization_id == organization_id
    found = await session.execute(select(UnitRow.unit_id, UnitRow.name).where(UnitRow.unit_id.in_(unit_ids), mine))
    return dict(iter(found))


async def _people(session: AsyncSession, organization_id: str) -> dict[str, str]:
    mine = ContactRow.organization_id == organization_id
    found = await session.execute(select(ContactRow.user_id, ContactRow.name).where(mine))
    return dict(iter(found))


@router.get("/alerts/{alert_id}")
async def show_alert(alert_id: AlertId, viewer: Looking, services: Used) -> Response:
    """The alert with its timeline; looking changes nothing."""
    async with services.transaction() as session:
        organization = await organization_of(session, viewer.caller.organization_id)
        row = await row_of(session, AlertRow, viewer.caller, alert_id)
        names = await _unit_names(session, {row.unit_id}, viewer.caller.organization_id)
        people = await _people(session, viewer.caller.organization_id)
        entries = await session.scalars(
            select(AlertEventRow)
            .where(AlertEventRow.alert_id == alert_id)
            .order_by(AlertEventRow.at, AlertEventRow.place)
            .limit(MOST_ENTRIES)
        )
        events = [entry_line(entry, people) for entry in entries]
    line = alert_line(row, names.get(row.unit_id, plain(row.unit_id)), organization.display_unit, to_ms(services.now()))
    return page(
        "alert.html",
        viewer,
        section="Alerts",
        line=line,
        unit_exists=row.unit_id in names,
        acknowledged_by=people.get(row.acknowledged_by or "", row.acknowledged_by and plain(row.acknowledged_by)),
        events=events,
        timezone=organization.timezone,
        display_unit=organization.display_unit,
    )


@router.post("/alerts/{alert_id}/acknowledge")
async def acknowledge(alert_id: AlertId, viewer: Looking, services: Used, request: Request) -> Response:
    """Said twice it changes nothing: the page then names who was first."""
    note = (await form_of(request)).get("note", "").strip()
    order = _order(Acknowledgement, note=note) if note else None
    await alert_commands.acknowledge(alert_id, viewer.caller, services, request, order)
    return _back_to(alert_id)


@router.post("/alerts/{alert_id}/notify")
async def notify(alert_id: AlertId, viewer: Looking, services: Used, request: Request) -> Response:
    await alert_commands.notify(alert_id, viewer.caller, services, request, AlertOrder())
    return _back_to(alert_id)


@router.post("/alerts/{alert_id}/snooze")
async def snooze(alert_id: AlertId, viewer: Looking, services: Used, request: Request) -> Response:
    """Notify nobody for the minutes of the form."""
    minutes = (await form_of(request)).get("minutes", "")
    order = _order(SilenceOrder, minutes=int(minutes) if minutes in SNOOZES else 0)
    await alert_commands.silence(alert_id, order, viewer.caller, services, request)
    return _back_to(alert_id)


def _order(kind: type[Order], **fields: object) -> Order:
    """Raises Problem (422) for what the form's own fields do not offer."""
    try:
        return kind.model_validate(fields)
    except ValidationError:
        shown = ", ".join(f"{name} {str(value)[:40]}" for name, value in fields.items())
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"This cannot be used: {shown}.") from None


def _back_to(alert_id: str) -> Response:
    return RedirectResponse(f"/alerts/{alert_id}", HTTPStatus.SEE_OTHER)
