"""Digest preferences: who gets which digest, when, in which timezone."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api import entity_tags, idempotency, paging
from api.authentication import Caller
from api.contacts import UserId
from api.ownership import assign, insert_row, row_of
from api.problems import conflict, invalid, responses
from api.services import Configurer, Reader, Services, Used
from database.configuration import ContactRow, DigestPreferenceRow, UnitRow
from domain.digest.schedule import ScheduleError, next_run, zone
from outbox.writer import publish_digest_preferences
from schemas.http.digest_preferences import DigestPreferenceBody, DigestPreferenceView, NewDigestPreference, NextRun
from schemas.http.paging import Page
from schemas.identity import plain, qualified
from schemas.messages import Cadence

router = APIRouter(tags=["digests"], responses=responses(400, 401, 403, 404, 422, 429, 503))

BY_USER = paging.Order(DigestPreferenceRow.user_id)


def _view(row: DigestPreferenceRow, services: Services) -> DigestPreferenceView:
    cadences = [Cadence(cadence) for cadence in row.cadences]
    runs = []
    for cadence in () if row.paused else cadences:
        at = next_run(cadence, row.timezone, row.hours.get(cadence, row.hour), services.now()).at
        local_time = at.astimezone(zone(row.timezone)).isoformat(timespec="seconds")
        runs.append(NextRun(cadence=cadence, at=at, local_time=local_time))
    fields = {name: getattr(row, name) for name in DigestPreferenceView.model_fields.keys() - {"next_runs"}}
    return DigestPreferenceView.model_validate(fields | {"next_runs": sorted(runs, key=lambda run: run.at)})


async def _write(session: AsyncSession, row: DigestPreferenceRow, body: DigestPreferenceBody) -> None:
    units = {
        cadence: [qualified(row.organization_id, unit_id) for unit_id in unit_ids]
        for cadence, unit_ids in body.units.items()
    }
    for cadence, unit_ids in units.items():
        known = await session.scalars(select(UnitRow.unit_id).where(UnitRow.unit_id.in_(unit_ids)))
        if missing := sorted(set(unit_ids) - set(known)):
            raise invalid(f"/units/{cadence}", f"there is no unit {plain(missing[0])!r}")
    try:
        zone(body.timezone)
    except ScheduleError as error:
        raise invalid("/timezone", str(error)) from None
    assign(row, body, DigestPreferenceBody.model_fields)
    row.units = {cadence.value: unit_ids for cadence, unit_ids in units.items()}
    # The most frequent first, each once.
    row.cadences = [cadence for cadence in Cadence if cadence in body.cadences]


@router.get("/v1/digest-preferences")
async def list_preferences(caller: Reader, services: Used, wanted: paging.Wanted) -> Page[DigestPreferenceView]:
    """All preferences with their next runs, in the order of user ids."""
    mine = select(DigestPreferenceRow).where(DigestPreferenceRow.organization_id == caller.organization_id)
    async with services.transaction() as session:
        found = await BY_USER.find(session, mine, wanted)
    return found.page(lambda row: _view(row, services))


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
    """Send digests to a contact."""

    async def work(session: AsyncSession) -> Response:
        user_id = (await row_of(session, ContactRow, caller, body.user_id)).user_id
        row = await insert_row(
            session,
            DigestPreferenceRow,
            {
                "user_id": user_id,
                "organization_id": caller.organization_id,
                "cadences": [],
                "timezone": body.timezone,
            },
        )
        if row is None:
            raise conflict(f"{body.user_id} has a digest preference; change it with PUT.")
        await _write(session, row, body)
        await publish_digest_preferences(session, [user_id])
        response = entity_tags.answer(request, _view(row, services), row.version, status=HTTPStatus.CREATED)
        response.headers["Location"] = f"/v1/digest-preferences/{body.user_id}"
        return response

    return await idempotency.once(request, caller, services, work)


@router.get("/v1/digest-preferences/{user_id}", response_model=DigestPreferenceView, responses=entity_tags.tagged())
async def get_preference(user_id: UserId, caller: Reader, services: Used) -> Response:
    """One contact's preference. The next runs change with time, so there is no 304."""
    async with services.transaction() as session:
        row = await row_of(session, DigestPreferenceRow, caller, user_id)
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
    """Replace a preference; it takes effect at once. `paused` stops the digests and keeps everything else."""
    async with services.transaction() as session:
        row = await row_of(session, DigestPreferenceRow, caller, user_id, lock=True)
        entity_tags.must_match(request, row.version)
        await _write(session, row, body)
        row.version += 1
        await publish_digest_preferences(session, [row.user_id])
        return entity_tags.answer(request, _view(row, services), row.version)


async def _set_paused(services: Services, caller: Caller, user_id: str, request: Request, *, paused: bool) -> Response:
    async with services.transaction() as session:
        row = await row_of(session, DigestPreferenceRow, caller, user_id, lock=True)
        if row.paused != paused:
            row.paused = paused
            row.version += 1
            await publish_digest_preferences(session, [row.user_id])
        return entity_tags.answer(request, _view(row, services), row.version)


@router.post(
    "/v1/digest-preferences/{user_id}/pause", response_model=DigestPreferenceView, responses=entity_tags.tagged()
)
async def pause_preference(user_id: UserId, caller: Configurer, services: Used, request: Request) -> Response:
    """Send no digests until resumed. Pausing twice is harmless."""
    return await _set_paused(services, caller, user_id, request, paused=True)


@router.post(
    "/v1/digest-preferences/{user_id}/resume", response_model=DigestPreferenceView, responses=entity_tags.tagged()
)
async def resume_preference(user_id: UserId, caller: Configurer, services: Used, request: Request) -> Response:
    """Send digests again, from the next run on."""
    return await _set_paused(services, caller, user_id, request, paused=False)


@router.delete(
    "/v1/digest-preferences/{user_id}",
    status_code=HTTPStatus.NO_CONTENT,
    responses=entity_tags.guarded(),
    openapi_extra=entity_tags.GUARDED,
)
async def delete_preference(user_id: UserId, caller: Configurer, services: Used, request: Request) -> None:
    """Stop a contact's digests for good."""
    async with services.transaction() as session:
        row = await row_of(session, DigestPreferenceRow, caller, user_id, lock=True)
        entity_tags.must_match(request, row.version)
        await session.delete(row)
        await publish_digest_preferences(session, [row.user_id])
