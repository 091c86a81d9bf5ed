"""Units; their rules one by one are in `rules`."""

import uuid
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api import entity_tags, idempotency, paging
from api.organizations import organization_of
from api.ownership import assign, insert_row, must_have_room, row_of
from api.problems import conflict, responses
from api.rule_rows import replace_rules, rules_of
from api.services import Configurer, Reader, Used
from database.configuration import UnitRow
from outbox.writer import publish_units
from schemas.http.fields import ID_PATTERN, Id
from schemas.http.paging import Page
from schemas.http.units import NewUnit, RuleView, UnitBody, UnitFields, UnitView
from schemas.identity import plain

router = APIRouter(tags=["units"], responses=responses(400, 401, 403, 404, 422, 429, 503))

UnitId = Annotated[str, Path(pattern=ID_PATTERN)]
BY_ID = paging.Order(UnitRow.unit_id)


async def answer_with(
    session: AsyncSession, row: UnitRow, request: Request, status: HTTPStatus = HTTPStatus.OK
) -> Response:
    """The unit with its rules and its tag."""
    rules = await rules_of(session, [row.unit_id])
    return entity_tags.answer(request, _view(row, rules[row.unit_id]), row.version, status=status)


async def announce_change(session: AsyncSession, row: UnitRow) -> None:
    """Count the change, and enqueue the unit for the workers."""
    row.version += 1
    await publish_units(session, [row.unit_id])


def _view(row: UnitRow, rules: list[RuleView]) -> UnitView:
    columns = UnitView.model_fields.keys() - {"rules"}
    return UnitView.model_validate({name: getattr(row, name) for name in columns} | {"rules": rules})


async def _write(session: AsyncSession, row: UnitRow, body: UnitBody) -> None:
    if body.device_id is not None and body.device_id != row.device_id:
        await _device_must_be_free(session, row, body.device_id)
    assign(row, body, UnitFields.model_fields)
    await session.flush()
    await replace_rules(session, row.unit_id, body.rules)


async def _device_must_be_free(session: AsyncSession, row: UnitRow, device_id: str) -> None:
    """Raises Problem (409); of two requests at once the database stops the second."""
    wanted = select(UnitRow.unit_id).where(
        UnitRow.organization_id == row.organization_id, UnitRow.device_id == device_id, UnitRow.unit_id != row.unit_id
    )
    if (other := (await session.scalars(wanted)).first()) is not None:
        raise conflict(f"The device {device_id} belongs to the unit {plain(other)}; remove it there first.")


@router.get("/v1/units")
async def list_units(
    caller: Reader,
    services: Used,
    wanted: paging.Wanted,
    gateway_id: Annotated[Id | None, Query(description="Only the units of this gateway")] = None,
) -> Page[UnitView]:
    """The organization's units in the order of their ids."""
    units = select(UnitRow).where(UnitRow.organization_id == caller.organization_id)
    if gateway_id is not None:
        units = units.where(UnitRow.gateway_id == gateway_id)
    async with services.transaction() as session:
        found = await BY_ID.find(session, units, wanted)
        rules = await rules_of(session, [row.unit_id for row in found.rows])
    return found.page(lambda row: _view(row, rules[row.unit_id]))


@router.post(
    "/v1/units",
    status_code=HTTPStatus.CREATED,
    response_model=UnitView,
    responses={**responses(409), **entity_tags.tagged(201)},
    openapi_extra=idempotency.DOCUMENTED,
)
async def create_unit(body: NewUnit, caller: Configurer, services: Used, request: Request) -> Response:
    """Make a unit; the workers know it within a second."""

    async def work(session: AsyncSession) -> Response:
        organization = await organization_of(session, caller.organization_id, lock=True)
        await must_have_room(session, UnitRow, caller.organization_id, organization.max_units)
        shown_id = body.unit_id or str(uuid.uuid4())
        unit_id = caller.qualified(shown_id)
        row = await insert_row(
            session,
            UnitRow,
            {"unit_id": unit_id, "organization_id": caller.organization_id, "name": body.name},
        )
        if row is None:
            raise conflict(f"The unit id {shown_id} is taken; choose another or leave it out.")
        await _write(session, row, body)
        await publish_units(session, [unit_id])
        response = await answer_with(session, row, request, HTTPStatus.CREATED)
        response.headers["Location"] = f"/v1/units/{shown_id}"
        return response

    response = await idempotency.once(request, caller, services, work)
    if body.unit_id is not None:
        services.ingest.forget(caller.qualified(body.unit_id))
    return response


@router.get(
    "/v1/units/{unit_id}",
    response_model=UnitView,
    responses=entity_tags.tagged(200, 304),
    openapi_extra=entity_tags.CACHED,
)
async def get_unit(unit_id: UnitId, caller: Reader, services: Used, request: Request) -> Response:
    """A unit with its rules."""
    async with services.transaction() as session:
        return await answer_with(session, await row_of(session, UnitRow, caller, unit_id), request)


@router.put(
    "/v1/units/{unit_id}",
    response_model=UnitView,
    responses={**entity_tags.tagged(), **entity_tags.guarded(409)},
    openapi_extra=entity_tags.GUARDED,
)
async def replace_unit(
    unit_id: UnitId, body: UnitBody, caller: Configurer, services: Used, request: Request
) -> Response:
    """Replace a unit with all its rules; If-Match guards against overwriting somebody's change."""
    async with services.transaction() as session:
        row = await row_of(session, UnitRow, caller, unit_id, lock=True)
        entity_tags.must_match(request, row.version)
        await _write(session, row, body)
        await announce_change(session, row)
        response = await answer_with(session, row, request)
    # Its gateway may be another.
    services.ingest.forget(row.unit_id)
    return response


@router.delete(
    "/v1/units/{unit_id}",
    status_code=HTTPStatus.NO_CONTENT,
    responses=entity_tags.guarded(),
    openapi_extra=entity_tags.GUARDED,
)
async def delete_unit(unit_id: UnitId, caller: Configurer, services: Used, request: Request) -> None:
    """Delete a unit with its rules and maintenance windows; its alerts stay in the records."""
    async with services.transaction() as session:
        row = await row_of(session, UnitRow, caller, unit_id, lock=True)
        entity_tags.must_match(request, row.version)
        await session.delete(row)
        await publish_units(session, [row.unit_id])
    services.ingest.forget(row.unit_id)
