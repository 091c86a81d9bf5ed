"""What a person orders about an alert: take it on, tell people now, be silent. Recorded, and told the workers."""

from datetime import datetime, timedelta
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from api import idempotency
from api.alerts import AlertId, alert_of
from api.contacts import contact_of
from api.keys import Caller
from api.problems import conflict, invalid, responses
from api.services import Reader, Services, Used
from database.declarative import from_ms, to_ms
from database.records import AlertRow, AlertTimelineRow
from outbox.writer import publish_command
from schemas import messages as m
from schemas.http.alerts import MOST_SILENT_MINUTES, Order, Ordered, Silenced, SilenceOrder

router = APIRouter(tags=["alerts"], responses=responses(400, 401, 403, 404, 422, 429, 503))

VIA = "api"


def _now_to_the_millisecond(services: Services) -> datetime:
    # Messages and cursors carry milliseconds; the row says the same instant.
    return from_ms(to_ms(services.now()))


async def _ordering(session: AsyncSession, caller: Caller, order: Order | None) -> str:
    if order is None or order.user_id is None:
        return caller.name
    return (await contact_of(session, caller, order.user_id)).user_id


async def _told(
    session: AsyncSession, row: AlertRow, event: str, command: m.Command, *, detail: dict[str, str] | None = None
) -> None:
    """Write `command` into the alert's timeline and enqueue it for the workers."""
    session.add(
        AlertTimelineRow(
            alert_id=row.alert_id,
            organization_id=row.organization_id,
            at=from_ms(command.at_ms),
            event=event,
            user_id=command.user_id,
            detail={"via": VIA, **(detail or {})},
        )
    )
    await session.flush()
    await publish_command(session, command)


def _accepted(view: Ordered) -> Response:
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
            return _accepted(Ordered(alert_id=alert_id, at=row.acknowledged_at, by=row.acknowledged_by or ""))
        if row.resolved_at is not None:
            raise conflict("This alert is resolved; there is nothing to acknowledge.")
        at = _now_to_the_millisecond(services)
        row.acknowledged_at, row.acknowledged_by, row.acknowledged_via = at, by, VIA
        await _told(
            session,
            row,
            "acknowledged",
            m.Acknowledge(
                alert_id=alert_id,
                unit_id=row.unit_id,
                organization_id=row.organization_id,
                user_id=by,
                at_ms=to_ms(at),
                via=VIA,
            ),
        )
        return _accepted(Ordered(alert_id=alert_id, at=at, by=by))

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
        await _told(
            session,
            row,
            "notify_now",
            m.NotifyNow(
                alert_id=alert_id,
                unit_id=row.unit_id,
                organization_id=row.organization_id,
                user_id=by,
                at_ms=to_ms(at),
            ),
        )
        return _accepted(Ordered(alert_id=alert_id, at=at, by=by))

    return await idempotency.once(request, caller, services, work)


@router.post(
    "/v1/alerts/{alert_id}/silence",
    status_code=HTTPStatus.ACCEPTED,
    response_model=Silenced,
    responses=responses(409),
    openapi_extra=idempotency.DOCUMENTED,
)
async def silence(alert_id: AlertId, order: SilenceOrder, caller: Reader, services: Used, request: Request) -> Response:
    """Tell nobody of an alert for a while; its record goes on. A later order replaces an earlier one."""

    async def work(session: AsyncSession) -> Response:
        row = await alert_of(session, caller, alert_id, lock=True)
        by = await _ordering(session, caller, order)
        if row.resolved_at is not None:
            raise conflict("This alert is resolved; it tells nobody any more.")
        at = _now_to_the_millisecond(services)
        until = _end_of_silence(order, at)
        await _told(
            session,
            row,
            "silenced",
            m.Silence(
                alert_id=alert_id,
                unit_id=row.unit_id,
                organization_id=row.organization_id,
                user_id=by,
                at_ms=to_ms(at),
                until_at_ms=to_ms(until),
            ),
            detail={"until_at_ms": str(to_ms(until))},
        )
        return _accepted(Silenced(alert_id=alert_id, at=at, by=by, until=until))

    return await idempotency.once(request, caller, services, work)


def _end_of_silence(order: SilenceOrder, at: datetime) -> datetime:
    """Raises Problem (422) for an end that is over, or too far away to be meant."""
    if order.until is None:
        return at + timedelta(minutes=order.minutes or 0)
    if order.until <= at:
        raise invalid("/until", f"{order.until.isoformat()} is over; give an instant that is still to come")
    if order.until > at + timedelta(minutes=MOST_SILENT_MINUTES):
        raise invalid("/until", "more than 30 days away; for longer, change the unit's rules")
    return order.until
