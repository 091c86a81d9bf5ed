"""API keys of an organization; its admins create and revoke them."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api import paging
from api.authentication import Caller, make_key
from api.organizations import organization_of
from api.ownership import row_of
from api.problems import invalid, responses
from api.services import Administrator, Used
from database.configuration import ApiKeyRow, ContactRow, UnitRow
from schemas.http.api_keys import KeyView, MadeKey, NewKey
from schemas.http.fields import ID_PATTERN
from schemas.http.paging import Page

router = APIRouter(tags=["API keys"], responses=responses(400, 401, 403, 404, 422, 429, 503))

BY_ID = paging.Order(ApiKeyRow.key_id)


@router.get("/v1/api-keys")
async def list_keys(caller: Administrator, services: Used, wanted: paging.Wanted) -> Page[KeyView]:
    """The organization's keys without their secrets, revoked ones included."""
    mine = select(ApiKeyRow).where(ApiKeyRow.organization_id == caller.organization_id)
    async with services.transaction() as session:
        found = await BY_ID.find(session, mine, wanted)
    return found.page(KeyView.model_validate)


@router.post("/v1/api-keys", status_code=HTTPStatus.CREATED)
async def create_key(body: NewKey, caller: Administrator, services: Used) -> MadeKey:
    """Create a key. Only this answer shows it, so this POST takes no Idempotency-Key."""
    made = make_key()
    async with services.transaction() as session:
        await organization_of(session, caller.organization_id)
        unit = None if body.unit_id is None else await row_of(session, UnitRow, caller, body.unit_id)
        contact = None if body.user_id is None else await row_of(session, ContactRow, caller, body.user_id)
        await _must_not_outlive_its_maker(session, caller, body)
        row = ApiKeyRow(
            key_id=made.key_id,
            organization_id=caller.organization_id,
            role=body.role,
            name=body.name,
            secret_sha256=made.secret_sha256,
            user_id=contact and contact.user_id,
            gateway_id=body.gateway_id,
            unit_id=unit and unit.unit_id,
            created_by=caller.name,
            expires_at=body.expires_at,
        )
        session.add(row)
        await session.flush()
        await session.refresh(row)
        return MadeKey(**KeyView.model_validate(row).model_dump(), key=made.key)


async def _must_not_outlive_its_maker(session: AsyncSession, caller: Caller, body: NewKey) -> None:
    ends = (await session.execute(select(ApiKeyRow.expires_at).where(ApiKeyRow.key_id == caller.key_id))).scalar_one()
    if ends is not None and (body.expires_at is None or body.expires_at > ends):
        raise invalid("/expires_at", f"your own key expires at {ends.isoformat()}; a new one must not live longer")


@router.delete("/v1/api-keys/{key_id}", status_code=HTTPStatus.NO_CONTENT)
async def revoke_key(key_id: Annotated[str, Path(pattern=ID_PATTERN)], caller: Administrator, services: Used) -> None:
    """Revoke a key; other processes refuse it within seconds. Revoking twice is harmless."""
    async with services.transaction() as session:
        row = await row_of(session, ApiKeyRow, caller, key_id, lock=True)
        row.revoked_at = row.revoked_at or services.now()
    services.keys.forget(key_id)
