"""Digests: their progress, sending one now, previewing one without sending it."""

import asyncio
import uuid
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api import idempotency, paging
from api.ownership import row_of
from api.problems import invalid, responses
from api.services import Configurer, Reader, Used
from database.configuration import DigestPreferenceRow, UnitRow
from database.declarative import to_ms
from database.records import DigestLedgerRow
from domain.digest.plan import asked_for_id, newest_period
from domain.digest.schedule import ScheduleError, zone
from outbox.configuration import unit_configs
from outbox.writer import publish_digest_command
from schemas.http.digests import DigestEntry, DigestOrder, DigestPreview, RequestedDigest
from schemas.http.fields import DisplayUnit, Id
from schemas.http.paging import Page
from schemas.messages import Cadence, SendDigestNow

router = APIRouter(tags=["digests"], responses=responses(400, 401, 403, 422, 429, 503))

NEWEST_FIRST = paging.Order(DigestLedgerRow.period_starts_at, DigestLedgerRow.digest_id, newest_first=True)


@router.get("/v1/digests")
async def list_digests(
    caller: Reader,
    services: Used,
    wanted: paging.Wanted,
    user_id: Annotated[Id | None, Query(description="Only this contact's")] = None,
    cadence: Annotated[Cadence | None, Query(description="Only these")] = None,
) -> Page[DigestEntry]:
    """Digests that were due or requested, and their progress; the newest period first."""
    digests = select(DigestLedgerRow).where(DigestLedgerRow.organization_id == caller.organization_id)
    if user_id is not None:
        digests = digests.where(DigestLedgerRow.user_id == caller.qualified(user_id))
    if cadence is not None:
        digests = digests.where(DigestLedgerRow.cadence == cadence)
    async with services.transaction() as session:
        found = await NEWEST_FIRST.find(session, digests, wanted)
    return found.page(DigestEntry.model_validate)


@router.post(
    "/v1/digests",
    status_code=HTTPStatus.ACCEPTED,
    response_model=RequestedDigest,
    responses=responses(404),
    openapi_extra=idempotency.DOCUMENTED,
)
async def send_digest_now(body: DigestOrder, caller: Configurer, services: Used, request: Request) -> Response:
    """Send a contact the digest of the newest complete period now, in the timezone of the digest preference."""

    async def work(session: AsyncSession) -> Response:
        preference = await row_of(session, DigestPreferenceRow, caller, body.user_id)
        now_ms = to_ms(services.now())
        order = SendDigestNow(
            command_id=str(uuid.uuid4()),
            user_id=preference.user_id,
            organization_id=preference.organization_id,
            cadence=body.cadence,
            timezone=preference.timezone,
            display_unit=preference.display_unit,
            requested_at_ms=now_ms,
        )
        await publish_digest_command(session, order)
        period = newest_period(order.cadence, order.timezone, now_ms)
        made = RequestedDigest(
            digest_id=asked_for_id(order.command_id),
            cadence=order.cadence,
            timezone=order.timezone,
            period_starts_at=period.starts_at,
            period_ends_at=period.ends_at,
        )
        return Response(made.model_dump_json(), HTTPStatus.ACCEPTED, media_type="application/json")

    return await idempotency.once(request, caller, services, work)


@router.get("/v1/digests/preview")
async def preview_digest(
    caller: Reader,
    services: Used,
    request: Request,
    cadence: Cadence = Cadence.DAILY,
    timezone: Annotated[str, Query(max_length=64, examples=["America/New_York"])] = "UTC",
    display_unit: DisplayUnit = "C",
) -> DigestPreview:
    """The digest of the newest complete period as it would be sent now. Expensive: rendered one at a time."""
    try:
        zone(timezone)
    except ScheduleError as error:
        raise invalid("timezone", str(error)) from None
    # The charts' library is slow to load: only a preview needs it.
    from streams.digests.preview import preview, with_pictures

    async with _turn(request):
        async with services.transaction() as session:
            ids = await session.scalars(
                select(UnitRow.unit_id).where(UnitRow.organization_id == caller.organization_id)
            )
            units = list((await unit_configs(session, list(ids))).values())
        made = await preview(
            services.engine,
            caller.organization_id,
            units,
            cadence=cadence,
            timezone=timezone,
            display_unit=display_unit,
            now=services.now(),
        )
    digest, rendered = made.digest, made.rendered
    return DigestPreview(
        subject=rendered.subject,
        cadence=cadence,
        timezone=timezone,
        display_unit=display_unit,
        period_starts_at=digest.period.starts_at,
        period_ends_at=digest.period.ends_at,
        complete=digest.complete,
        total_readings=digest.numbers.total_readings,
        total_alerts=digest.numbers.total_alerts,
        critical_alerts=digest.numbers.critical_alerts,
        units_monitored=digest.numbers.units_monitored,
        attachments=[one.file_name for one in rendered.enclosures if not one.cid],
        html=with_pictures(rendered),
        text=rendered.text,
    )


def _turn(request: Request) -> asyncio.Semaphore:
    state = request.app.state
    if not hasattr(state, "previews"):
        state.previews = asyncio.Semaphore(1)
    turn: asyncio.Semaphore = state.previews
    return turn
