"""Summaries: how far each is, one to be sent at once, one to look at without sending."""

import asyncio
import uuid
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from api import idempotency, paging
from api.digest_preferences import preference_of
from api.problems import invalid, responses
from api.services import Configurer, Reader, Used
from database.configuration import UnitRow
from database.declarative import to_ms
from database.records import DigestLedgerRow
from domain.digest.plan import asked_for_id, newest_period
from domain.digest.schedule import ScheduleError, zone
from outbox.writer import publish_digest_order, unit_configs
from schemas.http.digests import DigestEntry, DigestOrder, DigestPreview, OrderedDigest
from schemas.http.fields import DisplayUnit, Id
from schemas.http.paging import Page
from schemas.messages import Cadence, SendDigestNow

router = APIRouter(tags=["digests"], responses=responses(400, 401, 403, 422, 429, 503))


@router.get("/v1/digests")
async def list_digests(
    caller: Reader,
    services: Used,
    limit: paging.Limit = 50,
    cursor: paging.Cursor = None,
    user_id: Annotated[Id | None, Query(description="Only this contact's")] = None,
    cadence: Annotated[Cadence | None, Query(description="Only these")] = None,
) -> Page[DigestEntry]:
    """Summaries that were due or asked for and how far each is, those of the newest period first."""
    after = paging.position(cursor, int, str)
    wanted = select(DigestLedgerRow).where(DigestLedgerRow.organization_id == caller.organization_id)
    if after is not None:
        place = (paging.instant(after[0]), str(after[1]))
        wanted = wanted.where(tuple_(DigestLedgerRow.period_starts_at, DigestLedgerRow.digest_id) < place)
    if user_id is not None:
        wanted = wanted.where(DigestLedgerRow.user_id == user_id)
    if cadence is not None:
        wanted = wanted.where(DigestLedgerRow.cadence == cadence)
    order = (DigestLedgerRow.period_starts_at.desc(), DigestLedgerRow.digest_id.desc())
    async with services.transaction() as session:
        rows = list(await session.scalars(wanted.order_by(*order).limit(limit + 1)))
    return paging.page(rows, limit, _entry, lambda row: paging.cursor_of(to_ms(row.period_starts_at), row.digest_id))


def _entry(row: DigestLedgerRow) -> DigestEntry:
    return DigestEntry.model_validate({name: getattr(row, name) for name in DigestEntry.model_fields})


@router.post(
    "/v1/digests",
    status_code=HTTPStatus.ACCEPTED,
    response_model=OrderedDigest,
    responses=responses(404),
    openapi_extra=idempotency.DOCUMENTED,
)
async def send_digest_now(body: DigestOrder, caller: Configurer, services: Used, request: Request) -> Response:
    """Send a contact the summary of the newest whole period now. It takes a digest preference: whose timezone?"""

    async def work(session: AsyncSession) -> Response:
        preference = await preference_of(session, caller, body.user_id, lock=False)
        now_ms = to_ms(services.now())
        order = SendDigestNow(
            command_id=str(uuid.uuid4()),
            user_id=body.user_id,
            organization_id=preference.organization_id,
            cadence=body.cadence,
            timezone=preference.timezone,
            display_unit=preference.display_unit,
            requested_at_ms=now_ms,
        )
        await publish_digest_order(session, order)
        period = newest_period(order.cadence, order.timezone, now_ms)
        made = OrderedDigest(
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
    """The summary of the newest whole period as it would be sent now; one at a time, for it is much work."""
    try:
        zone(timezone)
    except ScheduleError as error:
        raise invalid("timezone", str(error)) from None
    # It draws charts: only whoever asks for it pays for loading that.
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
            web_url=str(request.base_url),
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
