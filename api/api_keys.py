"""API keys of an organization; its admins make and revoke them."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path
from sqlalchemy import select

from api import paging
from api.keys import keys_of, make_key
from api.organizations import organization_of
from api.problems import not_found, responses
from api.services import Administrator, Used
from database.configuration import ApiKeyRow
from schemas.http.fields import ID_PATTERN
from schemas.http.keys import KeyView, MadeKey, NewKey
from schemas.http.paging import Page
from schemas.roles import Role

router = APIRouter(tags=["API keys"], responses=responses(400, 401, 403, 404, 422, 429, 503))


def _view(row: ApiKeyRow) -> KeyView:
    return KeyView(
        key_id=row.key_id,
        name=row.name,
        role=Role(row.role),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


@router.get("/v1/api-keys")
async def list_keys(
    caller: Administrator, services: Used, limit: paging.Limit = 50, cursor: paging.Cursor = None
) -> Page[KeyView]:
    """The organization's keys without their secrets, revoked ones included."""
    after = paging.position(cursor, str)
    async with services.transaction() as session:
        rows = await keys_of(session, caller.organization_id, str(after[0]) if after else None, limit + 1)
    return paging.page(rows, limit, _view, lambda row: paging.cursor_of(row.key_id))


@router.post("/v1/api-keys", status_code=HTTPStatus.CREATED)
async def create_key(body: NewKey, caller: Administrator, services: Used) -> MadeKey:
    """Make a key. It is shown in this answer and never again, so this POST takes no Idempotency-Key."""
    made = make_key()
    async with services.transaction() as session:
        await organization_of(session, caller.organization_id)
        row = ApiKeyRow(
            key_id=made.key_id,
            organization_id=caller.organization_id,
            role=body.role,
            name=body.name,
            secret_sha256=made.secret_sha256,
            expires_at=body.expires_at,
        )
        session.add(row)
        await session.flush()
        await session.refresh(row)
        return MadeKey(**_view(row).model_dump(), key=made.key)


@router.delete("/v1/api-keys/{key_id}", status_code=HTTPStatus.NO_CONTENT)
async def revoke_key(key_id: Annotated[str, Path(pattern=ID_PATTERN)], caller: Administrator, services: Used) -> None:
    """End a key; other processes refuse it within seconds. Revoking twice is harmless."""
    async with services.transaction() as session:
        wanted = select(ApiKeyRow).where(
            ApiKeyRow.key_id == key_id, ApiKeyRow.organization_id == caller.organization_id
        )
        row = (await session.scalars(wanted.with_for_update())).one_or_none()
        if row is None:
            raise not_found("API key", key_id)
        row.revoked_at = row.revoked_at or services.now()
    services.keys.forget(key_id)
