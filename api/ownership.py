"""Rows of the caller's organization: what belongs to another one is reported as missing."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel
from sqlalchemy import func, inspect, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.authentication import Caller
from api.problems import conflict, not_found
from database.configuration import ApiKeyRow, ContactRow, DigestPreferenceRow, UnitRow
from database.declarative import Row
from database.records import AlertRow
from schemas.identity import qualified

Owned = TypeVar("Owned", UnitRow, ContactRow, DigestPreferenceRow, ApiKeyRow, AlertRow)

NOUNS: Mapping[type, str] = {
    UnitRow: "unit",
    ContactRow: "contact",
    DigestPreferenceRow: "digest preference of",
    ApiKeyRow: "API key",
    AlertRow: "alert",
}
# Their ids are an organization's own: the API takes them plain, the tables have them qualified.
QUALIFIED = (UnitRow, ContactRow, DigestPreferenceRow)


async def row_of(session: AsyncSession, kind: type[Owned], caller: Caller, row_id: str, *, lock: bool = False) -> Owned:
    """The row of a plain id. Raises Problem (404) where the organization has no such row."""
    [key] = inspect(kind).primary_key
    stored_id = qualified(caller.organization_id, row_id) if issubclass(kind, QUALIFIED) else row_id
    wanted = select(kind).where(key == stored_id, kind.organization_id == caller.organization_id)
    row = (await session.scalars(wanted.with_for_update() if lock else wanted)).one_or_none()
    if row is None:
        raise not_found(NOUNS[kind], row_id)
    return row


async def insert_row(session: AsyncSession, kind: type[Owned], values: Mapping[str, Any]) -> Owned | None:
    """The new row, or None where its id is taken."""
    made = await session.scalars(insert(kind).values(values).on_conflict_do_nothing().returning(kind))
    return made.one_or_none()


async def must_have_room(session: AsyncSession, kind: type[Owned], organization_id: str, limit: int | None) -> None:
    """Raises Problem (409) at the organization's limit; the caller holds a lock on the organization."""
    if limit is None:
        return
    count = await session.execute(select(func.count()).where(kind.organization_id == organization_id))
    if count.scalar_one() >= limit:
        raise conflict(f"Your organization may have {limit} {NOUNS[kind]}s.")


def assign(row: Row, body: BaseModel, fields: Mapping[str, object]) -> None:
    """Copy `fields` of a request's body to the columns of the same names."""
    for name in fields:
        setattr(row, name, getattr(body, name))
