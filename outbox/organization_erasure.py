"""Deletes an organization: configuration, keys, people, records; its audit trail stays for its year without names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select, text

from database.audit import AuditEntryRow, AuditPersonalRow, ErasureRow
from database.configuration import (
    ApiKeyRow,
    ContactRow,
    DigestPreferenceRow,
    EscalationStepRow,
    OrganizationRow,
    UnitRow,
)
from database.queues import IdempotencyKeyRow
from database.tenancy import owned
from database.upgrade import metadata
from outbox import writer
from outbox.erasure import hash_opt_outs, new_receipt, receipt_of

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import InstrumentedAttribute

# In this order, because the later ones are referred to by the earlier ones; rules and windows go with their units.
_CONFIGURATION = (ApiKeyRow, DigestPreferenceRow, EscalationStepRow, ContactRow, UnitRow, OrganizationRow)
_STAYS = frozenset(kind.__tablename__ for kind in (AuditEntryRow, AuditPersonalRow, ErasureRow))


async def erase_organization(session: AsyncSession, organization_id: str, *, by: str, now: datetime) -> dict[str, int]:
    """Rows deleted, by table; empty where nothing of such an organization is left. Repeat it for late records."""
    # A large organization has millions of aggregates.
    await session.execute(text("SET LOCAL statement_timeout = 0"))
    mine = select(OrganizationRow).where(OrganizationRow.organization_id == organization_id).with_for_update()
    await session.execute(mine)
    users = await _ids(session, ContactRow.user_id, ContactRow.organization_id == organization_id)
    units = await _ids(session, UnitRow.unit_id, UnitRow.organization_id == organization_id)
    keys = await _ids(session, ApiKeyRow.key_id, ApiKeyRow.organization_id == organization_id)
    people = {*users, *await _former_people(session, organization_id)}
    numbers = await _ids(session, ContactRow.phone_e164, ContactRow.user_id.in_(users))
    await hash_opt_outs(session, numbers, of=users)
    await _allow(session, organization_id, people, by=by, now=now)
    counts = await _delete_rows(session, organization_id)
    answers = delete(IdempotencyKeyRow).where(IdempotencyKeyRow.key_id.in_(keys))
    counts["idempotency_keys"] = _rows(await session.execute(answers))
    personal = delete(AuditPersonalRow).where(AuditPersonalRow.user_id.in_(people))
    counts["audit_personal"] = _rows(await session.execute(personal))
    await writer.publish_units(session, units)
    await writer.publish_contacts(session, users)
    await writer.publish_digest_preferences(session, users)
    if counts[OrganizationRow.__tablename__]:
        await writer.publish_organizations(session, [organization_id])
    return {table: rows for table, rows in counts.items() if rows}


async def _delete_rows(session: AsyncSession, organization_id: str) -> dict[str, int]:
    """Records first, and what belongs to other rows before those; then the configuration."""
    conditions = owned()
    last = [kind.__tablename__ for kind in _CONFIGURATION]
    first = sorted(conditions.keys() - {*last, *_STAYS}, key=lambda table: "organization_id" in _columns(table))
    counts: dict[str, int] = {}
    for table in [*first, *last]:
        statement = text(f"DELETE FROM {table} WHERE {conditions[table]}")  # noqa: S608 - our own names
        counts[table] = _rows(await session.execute(statement, {"organization": organization_id}))
    return counts


def _columns(table: str) -> set[str]:
    return {column.name for column in metadata().tables[table].columns}


async def _former_people(session: AsyncSession, organization_id: str) -> set[str]:
    """Users whom only the audit trail still knows."""
    entries, personal = AuditEntryRow, AuditPersonalRow
    known = select(personal.user_id).join(entries, entries.entry_id == personal.entry_id)
    found = await session.scalars(known.where(entries.organization_id == organization_id).distinct())
    return {user_id for user_id in found if user_id is not None}


async def _allow(
    session: AsyncSession, organization_id: str, people: Collection[str], *, by: str, now: datetime
) -> None:
    """A receipt for each: the database keeps the personal part of the trail of everybody who has none."""
    for user_id in sorted(people):
        if await receipt_of(session, organization_id, user_id) is None:
            session.add(new_receipt(organization_id, user_id, by=by, now=now))
    await session.flush()


async def _ids(session: AsyncSession, column: InstrumentedAttribute[Any], *where: ColumnElement[bool]) -> list[str]:
    return [found for found in await session.scalars(select(column).where(*where)) if found is not None]


def _rows(result: object) -> int:
    return int(getattr(result, "rowcount", 0))
