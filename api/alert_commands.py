"""A person's commands about an alert: acknowledge it, notify people now, silence it. Recorded and enqueued together."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple, TypedDict

from fastapi import APIRouter, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from api import idempotency
from api.alerts import AlertId
from api.authentication import Caller
from api.ownership import row_of
from api.problems import Problem, conflict, invalid, responses
from api.services import Reader, Services, Used
from api.unrecorded_alerts import unrecorded_alert, with_first_acknowledgement
from database.configuration import ContactRow
from database.declarative import from_ms, to_ms
from database.records import AlertRow, AlertTimelineRow
from outbox.writer import publish_command
from schemas import messages as m
from schemas.http.alerts import MAX_SILENCE_MINUTES, Accepted, Acknowledgement, AlertOrder, Silenced, SilenceOrder
from schemas.identity import plain
from schemas.roles import Role

router = APIRouter(tags=["alerts"], responses=responses(400, 401, 403, 404, 422, 429, 503))

VIA = "api"


class Fields(TypedDict):
    """What every command says."""

    alert_id: str
    unit_id: str
    organization_id: str
    user_id: str
    at_ms: int


class Given(NamedTuple):
    """Who gives a command about which alert, and when."""

    alert: AlertRow
    by: str
    at: datetime

    def fields(self) -> Fields:
        return {
            "alert_id": self.alert.alert_id,
            "unit_id": self.alert.unit_id,
            "organization_id": self.alert.organization_id,
            "user_id": self.by,
            "at_ms": to_ms(self.at),
        }

    def accepted(self) -> Accepted:
        return Accepted(alert_id=self.alert.alert_id, at=self.at, by=self.by)


class Carried(NamedTuple):
    """A command with the event that the alert's timeline shows for it."""

    event: str
    command: m.Command
    answer: Accepted
    detail: Mapping[str, str] = MappingProxyType({})


async def _carry_out(
    request: Request,
    caller: Caller,
    services: Services,
    alert_id: str,
    order: AlertOrder | None,
    decide: Callable[[Given], Carried | Accepted],
) -> Response:
    """Write what `decide` says into the timeline and the outbox; for a bare answer, nothing."""
    unrecorded: AlertRow | None = None

    async def work(session: AsyncSession) -> Response:
        if unrecorded is None:
            alert = await row_of(session, AlertRow, caller, alert_id, lock=True)
        else:
            alert = await with_first_acknowledgement(session, unrecorded)
        by = await _giver(session, caller, order)
        # Messages and cursors carry milliseconds; the row has the same instant.
        decided = decide(Given(alert, by, from_ms(to_ms(services.now()))))
        if isinstance(decided, Carried):
            await _record(session, alert, decided)
            decided = decided.answer
        return Response(decided.model_dump_json(), HTTPStatus.ACCEPTED, media_type="application/json")

    try:
        return await idempotency.once(request, caller, services, work)
    except Problem as problem:
        if problem.status_code != HTTPStatus.NOT_FOUND:
            raise
        # SQL may be behind: the alert itself is older than whoever read of it.
        unrecorded = await unrecorded_alert(services.kafka, caller.organization_id, alert_id, services.now())
        if unrecorded is None:
            raise
    return await idempotency.once(request, caller, services, work)


async def _giver(session: AsyncSession, caller: Caller, order: AlertOrder | None) -> str:
    """Who gives the command; raises Problem (403) for a member who names somebody else."""
    if order is None or order.user_id is None:
        return caller.name
    if caller.role is Role.MEMBER and caller.qualified(order.user_id) != caller.user_id:
        own = f"the contact of this key is {plain(caller.user_id)}" if caller.user_id else "this key has no contact"
        raise Problem(HTTPStatus.FORBIDDEN, f"Members give commands in their own name only; {own}. Leave out user_id.")
    return (await row_of(session, ContactRow, caller, order.user_id)).user_id


async def _record(session: AsyncSession, alert: AlertRow, carried: Carried) -> None:
    session.add(
        AlertTimelineRow(
            alert_id=alert.alert_id,
            organization_id=alert.organization_id,
            at=from_ms(carried.command.at_ms),
            event=carried.event,
            user_id=carried.command.user_id,
            detail={"via": VIA, **carried.detail},
        )
    )
    await session.flush()
    await publish_command(session, carried.command)


@router.post(
    "/v1/alerts/{alert_id}/acknowledge",
    status_code=HTTPStatus.ACCEPTED,
    response_model=Accepted,
    responses=responses(409),
    openapi_extra=idempotency.DOCUMENTED,
)
async def acknowledge(
    alert_id: AlertId, caller: Reader, services: Used, request: Request, order: Acknowledgement | None = None
) -> Response:
    """Acknowledge an alert, which stops its reminders. A second caller gets the first one's name and time."""

    def decide(given: Given) -> Carried | Accepted:
        alert = given.alert
        if alert.acknowledged_at is not None:
            return Accepted(alert_id=alert_id, at=alert.acknowledged_at, by=alert.acknowledged_by or "")
        if alert.resolved_at is not None:
            raise conflict("This alert is resolved; there is nothing to acknowledge.")
        alert.acknowledged_at, alert.acknowledged_by, alert.acknowledged_via = given.at, given.by, VIA
        note = alert.acknowledgement_note = None if order is None else order.note
        command = m.Acknowledge(**given.fields(), via=VIA)
        return Carried("acknowledged", command, given.accepted(), {"note": note} if note else {})

    return await _carry_out(request, caller, services, alert_id, order, decide)


@router.post(
    "/v1/alerts/{alert_id}/notify",
    status_code=HTTPStatus.ACCEPTED,
    response_model=Accepted,
    responses=responses(409),
    openapi_extra=idempotency.DOCUMENTED,
)
async def notify(
    alert_id: AlertId, caller: Reader, services: Used, request: Request, order: AlertOrder | None = None
) -> Response:
    """Notify the people on duty now, even of an alert that was suppressed."""

    def decide(given: Given) -> Carried:
        if given.alert.resolved_at is not None:
            raise conflict("This alert is resolved; there is nothing to notify people of.")
        return Carried("notify_now", m.NotifyNow(**given.fields()), given.accepted())

    return await _carry_out(request, caller, services, alert_id, order, decide)


@router.post(
    "/v1/alerts/{alert_id}/silence",
    status_code=HTTPStatus.ACCEPTED,
    response_model=Silenced,
    responses=responses(409),
    openapi_extra=idempotency.DOCUMENTED,
)
async def silence(alert_id: AlertId, order: SilenceOrder, caller: Reader, services: Used, request: Request) -> Response:
    """Notify nobody of an alert for a while; recording goes on. A later silence replaces an earlier one."""

    def decide(given: Given) -> Carried:
        if given.alert.resolved_at is not None:
            raise conflict("This alert is resolved; it notifies nobody.")
        until = _end_of_silence(order, given.at)
        command = m.Silence(**given.fields(), until_at_ms=to_ms(until))
        answer = Silenced(**given.accepted().model_dump(), until=until)
        return Carried("silenced", command, answer, {"until_at_ms": str(to_ms(until))})

    return await _carry_out(request, caller, services, alert_id, order, decide)


def _end_of_silence(order: SilenceOrder, at: datetime) -> datetime:
    """Raises Problem (422) for an end that is in the past, or more than 30 days away."""
    if order.until is None:
        return at + timedelta(minutes=order.minutes or 0)
    if order.until <= at:
        raise invalid("/until", f"{order.until.isoformat()} is in the past")
    if order.until > at + timedelta(minutes=MAX_SILENCE_MINUTES):
        raise invalid("/until", "more than 30 days away; for longer, change the unit's rules")
    return order.until
