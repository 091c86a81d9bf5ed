"""The organization itself. Creating organizations takes a key for all of them."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api import entity_tags, paging
from api.ownership import assign
from api.problems import invalid, not_found, responses
from api.services import Administrator, Operator, Reader, Used
from database.configuration import ContactRow, OrganizationRow, UnitRow
from domain.digest.schedule import ScheduleError, zone
from outbox.writer import publish_contacts, publish_organizations, publish_units
from schemas.http.fields import ID_PATTERN
from schemas.http.organizations import OrganizationBody, OrganizationTerms, OrganizationView
from schemas.http.paging import Page
from schemas.identity import qualified

router = APIRouter(tags=["organization"], responses=responses(400, 401, 403, 404, 422, 429, 503))

BY_ID = paging.Order(OrganizationRow.organization_id)


async def organization_of(session: AsyncSession, organization_id: str, *, lock: bool = False) -> OrganizationRow:
    """Raises Problem (404); only a key for all organizations can name one that does not exist."""
    wanted = select(OrganizationRow).where(OrganizationRow.organization_id == organization_id)
    row = (await session.scalars(wanted.with_for_update() if lock else wanted)).one_or_none()
    if row is None:
        raise not_found("organization", organization_id)
    return row


async def _write(session: AsyncSession, row: OrganizationRow, body: OrganizationBody | OrganizationTerms) -> None:
    try:
        zone(body.timezone)
    except ScheduleError as error:
        raise invalid("/timezone", str(error)) from None
    fallback = body.fallback_user_id
    stored_id = None if fallback is None else qualified(row.organization_id, fallback)
    if stored_id is not None and await session.get(ContactRow, stored_id) is None:
        raise invalid("/fallback_user_id", f"{fallback} is no contact of this organization")
    assign(row, body, type(body).model_fields)
    row.fallback_user_id = stored_id


async def _publish_units(session: AsyncSession, organization_id: str) -> None:
    """The name and the display unit are part of every unit's configuration."""
    await session.flush()
    wanted = select(UnitRow.unit_id).where(UnitRow.organization_id == organization_id)
    await publish_units(session, list(await session.scalars(wanted)))


async def _publish_contacts(session: AsyncSession, organization_id: str) -> None:
    """The SMS cap is part of every contact: the workers that keep it read no organizations."""
    await session.flush()
    wanted = select(ContactRow.user_id).where(ContactRow.organization_id == organization_id)
    await publish_contacts(session, list(await session.scalars(wanted)))


@router.get(
    "/v1/organization",
    response_model=OrganizationView,
    responses=entity_tags.tagged(200, 304),
    openapi_extra=entity_tags.CACHED,
)
async def get_organization(caller: Reader, services: Used, request: Request) -> Response:
    """The key's organization."""
    async with services.transaction() as session:
        row = await organization_of(session, caller.organization_id)
        return entity_tags.answer(request, OrganizationView.model_validate(row), row.version)


@router.put(
    "/v1/organization",
    response_model=OrganizationView,
    responses={**entity_tags.tagged(), **entity_tags.guarded()},
    openapi_extra=entity_tags.GUARDED,
)
async def replace_organization(
    body: OrganizationBody, caller: Administrator, services: Used, request: Request
) -> Response:
    """Change the name and the display unit of temperatures."""
    async with services.transaction() as session:
        row = await organization_of(session, caller.organization_id, lock=True)
        entity_tags.must_match(request, row.version)
        await _write(session, row, body)
        row.version += 1
        await publish_organizations(session, [row.organization_id])
        await _publish_units(session, row.organization_id)
        return entity_tags.answer(request, OrganizationView.model_validate(row), row.version)


@router.get("/v1/organizations")
async def list_organizations(_: Operator, services: Used, wanted: paging.Wanted) -> Page[OrganizationView]:
    """All organizations of this installation."""
    async with services.transaction() as session:
        found = await BY_ID.find(session, select(OrganizationRow), wanted)
    return found.page(OrganizationView.model_validate)


@router.put(
    "/v1/organizations/{organization_id}",
    response_model=OrganizationView,
    responses={**entity_tags.tagged(200, 201), **entity_tags.guarded()},
    openapi_extra=entity_tags.GUARDED,
)
async def put_organization(
    organization_id: Annotated[str, Path(pattern=ID_PATTERN)],
    body: OrganizationTerms,
    _: Operator,
    services: Used,
    request: Request,
) -> Response:
    """Create an organization, or change its terms."""
    async with services.transaction() as session:
        await session.execute(
            insert(OrganizationRow)
            .values(organization_id=organization_id, name=body.name, version=0)
            .on_conflict_do_nothing()
        )
        row = await organization_of(session, organization_id, lock=True)
        entity_tags.must_match(request, row.version)
        made, former_cap = row.version == 0, row.sms_per_hour
        await _write(session, row, body)
        row.version += 1
        await publish_organizations(session, [organization_id])
        await _publish_units(session, organization_id)
        if row.sms_per_hour != former_cap:
            await _publish_contacts(session, organization_id)
        status = HTTPStatus.CREATED if made else HTTPStatus.OK
        return entity_tags.answer(request, OrganizationView.model_validate(row), row.version, status=status)
