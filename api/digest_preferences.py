"""Who gets which summary, when, in whose local time."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api import entity_tags, idempotency, paging
from api.contacts import UserId, contact_of
from api.keys import Caller
from api.problems import conflict, invalid, not_found, responses
from api.services import Configurer, Reader, Services, Used
from database.configuration import DigestPreferenceRow
from domain.digest.schedule import ScheduleError, next_run, zone
from outbox.writer import publish_digest_preferences
from schemas.http.digest_preferences import DigestPreferenceBody, DigestPreferenceView, NewDigestPreference, NextRun
from schemas.http.paging import Page
from schemas.messages import Cadence

router = APIRouter(tags=["digests"], responses=responses(400, 401, 403, 404, 422, 429, 503))


async def preference_of(session: AsyncSession, caller: Caller, user_id: str, *, lock: bool) -> DigestPreferenceRow:
    wanted = select(DigestPreferenceRow).where(
        DigestPreferenceRow.user_id == user_id, DigestPreferenceRow.organization_id == caller.organization_id
    )
    row = (await session.scalars(wanted.with_for_update() if lock else wanted)).one_or_none()
    if row is None:
        raise not_found("digest preference of", user_id)
    return row


def _view(row: DigestPreferenceRow, services: Services) -> DigestPreferenceView:
    cadences = [Cadence(cadence) for cadence in row.cadences]
    runs = []
    for cadence in () if row.paused else cadences:
        at = next_run(cadence, row.timezone, row.hour, services.now()).at
        local_time = at.astimezone(zone(row.timezone)).isoformat(timespec="seconds")
        runs.append(NextRun(cadence=cadence, at=at, local_time=local_time))
    return DigestPreferenceView(
        user_id=row.user_id,
        cadences=cadences,
        timezone=row.timezone,
        hour=row.hour,
        display_unit=row.display_unit,
        paused=row.paused,
        next_runs=sorted(runs, key=lambda run: run.at),
        created_at=row.created_at,
    )


def _write(row: DigestPreferenceRow, body: DigestPreferenceBody) -> None:
    try:
        zone(body.timezone)
    except ScheduleError as error:
        raise invalid("/timezone", str(error)) from None
    # In the order of how often they come, each once.
    row.cadences = [cadence for cadence in Cadence if cadence in body.cadences]
    row.timezone = body.timezone
    row.hour = body.hour
    row.display_unit = body.display_unit
    row.paused = body.paused


@router.get("/v1/digest-preferences")
async def list_preferences(
    caller: Reader, services: Used, limit: paging.Limit = 50, cursor: paging.Cursor = None
) -> Page[DigestPreferenceView]:
    """All preferences with their next runs, in the order of user ids."""
    after = paging.position(cursor, str)
    wanted = select(DigestPreferenceRow).where(DigestPreferenceRow.organization_id == caller.organization_id)
    if after is not None:
        wanted = wanted.where(DigestPreferenceRow.user_id > after[0])
    async with services.transaction() as session:
        rows = list(await session.scalars(wanted.order_by(DigestPreferenceRow.user_id).limit(limit + 1)))
    return paging.page(rows, limit, lambda row: _view(row, services), lambda row: paging.cursor_of(row.user_id))


@router.post(
    "/v1/digest-preferences",
    status_code=HTTPStatus.CREATED,
    response_model=DigestPreferenceView,
    responses={**responses(409), **entity_tags.tagged(201)},
    openapi_extra=idempotency.DOCUMENTED,
)
async def create_preference(
    body: NewDigestPreference, caller: Configurer, services: Used, request: Request
) -> Response:
    """Send a contact summaries."""

    async def work(session: AsyncSession) -> Response:
        await contact_of(session, caller, body.user_id)
        made = await session.scalars(
            insert(DigestPreferenceRow)
            .values(user_id=body.user_id, organization_id=caller.organization_id, cadences=[], timezone=body.timezone)
            .on_conflict_do_nothing()
            .returning(DigestPreferenceRow)
        )
        row = made.one_or_none()
        if row is None:
            raise conflict(f"{body.user_id} has a digest preference; change it with PUT.")
        _write(row, body)
        await publish_digest_preferences(session, [body.user_id])
        response = entity_tags.answer(request, _view(row, services), row.version, status=HTTPStatus.CREATED)
        response.headers["Location"] = f"/v1/digest-preferences/{body.user_id}"
        return response

    return await idempotency.once(request, caller, services, work)


@router.get("/v1/digest-preferences/{user_id}", response_model=DigestPreferenceView, responses=entity_tags.tagged())
async def get_preference(user_id: UserId, caller: Reader, services: Used) -> Response:
    """One contact's preference. The next runs move with time, so a GET has no 304."""
    async with services.transaction() as session:
        row = await preference_of(session, caller, user_id, lock=False)
        headers = {"ETag": entity_tags.tag(row.version)}
        return Response(_view(row, services).model_dump_json(), HTTPStatus.OK, headers, "application/json")


@router.put(
    "/v1/digest-preferences/{user_id}",
    response_model=DigestPreferenceView,
    responses={**entity_tags.tagged(), **entity_tags.guarded()},
    openapi_extra=entity_tags.GUARDED,
)
async def replace_preference(
    user_id: UserId, body: DigestPreferenceBody, caller: Configurer, services: Used, request: Request
) -> Response:
    """Replace a preference; it takes effect at once. `paused` stops the summaries and keeps the rest."""
    async with services.transaction() as session:
        row = await preference_of(session, caller, user_id, lock=True)
        entity_tags.must_match(request, row.version)
        _write(row, body)
        row.version += 1
        await publish_digest_preferences(session, [user_id])
        return entity_tags.answer(request, _view(row, services), row.version)


async def _set_paused(services: Services, caller: Caller, user_id: str, request: Request, *, paused: bool) -> Response:
    async with services.transaction() as session:
        row = await preference_of(session, caller, user_id, lock=True)
        if row.paused != paused:
            row.paused = paused
            row.version += 1
            await publish_digest_preferences(session, [user_id])
        return entity_tags.answer(request, _view(row, services), row.version)


@router.post(
    "/v1/digest-preferences/{user_id}/pause", response_model=DigestPreferenceView, responses=entity_tags.tagged()
)
async def pause_preference(user_id: UserId, caller: Configurer, services: Used, request: Request) -> Response:
    """Send nothing until it is resumed. Doing it twice is harmless."""
    return await _set_paused(services, caller, user_id, request, paused=True)


@router.post(
    "/v1/digest-preferences/{user_id}/resume", response_model=DigestPreferenceView, responses=entity_tags.tagged()
)
async def resume_preference(user_id: UserId, caller: Configurer, services: Used, request: Request) -> Response:
    """Send again, from the next run on."""
    return await _set_paused(services, caller, user_id, request, paused=False)


@router.delete(
    "/v1/digest-preferences/{user_id}",
    status_code=HTTPStatus.NO_CONTENT,
    responses=entity_tags.guarded(),
    openapi_extra=entity_tags.GUARDED,
)
async def delete_preference(user_id: UserId, caller: Configurer, services: Used, request: Request) -> None:
    """Send no more summaries."""
    async with services.transaction() as session:
        row = await preference_of(session, caller, user_id, lock=True)
        entity_tags.must_match(request, row.version)
        await session.delete(row)
        await publish_digest_preferences(session, [user_id])
