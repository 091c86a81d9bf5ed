"""The audit trail of an organization, for its admins. Nothing here changes it, and neither can anything else."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api import paging
from api.authentication import NO_ORGANIZATION
from api.moments import Moment, instant_of
from api.problems import responses
from api.services import AdministratorOrOperator, Used
from database.audit import AuditEntryRow, AuditPersonalRow
from schemas.http.audit import AuditEntry
from schemas.http.fields import Line
from schemas.http.paging import Page
from schemas.identity import plain

router = APIRouter(tags=["audit"], responses=responses(400, 401, 403, 404, 422, 429, 503))

Word = Annotated[str, Query(min_length=1, max_length=60, pattern="^[a-z_.]+$")]
_IDS = {"unit_id", "user_id", "fallback_user_id"}
NEWEST_FIRST = paging.Order(AuditEntryRow.entry_id, newest_first=True)


@router.get("/v1/audit")
async def list_entries(
    caller: AdministratorOrOperator,
    services: Used,
    wanted: paging.Wanted,
    actor: Annotated[Line | None, Query(description="Only changes by this contact or `key:` and key id")] = None,
    action: Annotated[Word | None, Query(description="Only this kind of change, such as rule.changed")] = None,
    subject_kind: Annotated[Word | None, Query(description="Only changes of this kind of thing, such as unit")] = None,
    subject_id: Annotated[Line | None, Query(description="Only changes of this one")] = None,
    since: Annotated[Moment | None, Query(description="Changed at or after this")] = None,
    until: Annotated[Moment | None, Query(description="Changed before this")] = None,
) -> Page[AuditEntry]:
    """Every change of configuration and keys, acknowledgement, silence and redrive; the newest first.

    A key for all organizations that chooses none gets what concerns all of them.
    """
    owner = AuditEntryRow.organization_id
    mine = owner.is_(None) if caller.organization_id == NO_ORGANIZATION else owner == caller.organization_id
    entries = select(AuditEntryRow).where(mine)
    for column, value in (
        (AuditEntryRow.action, action),
        (AuditEntryRow.subject_kind, subject_kind),
    ):
        if value is not None:
            entries = entries.where(column == value)
    for column, value in ((AuditEntryRow.actor, actor), (AuditEntryRow.subject_id, subject_id)):
        if value is not None:
            # Entries about units and contacts have qualified ids; entries from before there were any have plain ones.
            entries = entries.where(column.in_([value, caller.qualified(value)]))
    async with services.transaction() as session:
        if (begin := await instant_of(session, caller, "since", since)) is not None:
            entries = entries.where(AuditEntryRow.at >= begin)
        if (end := await instant_of(session, caller, "until", until)) is not None:
            entries = entries.where(AuditEntryRow.at < end)
        found = await NEWEST_FIRST.find(session, entries, wanted)
        personal = await _personal(session, [row.entry_id for row in found.rows])
    return found.page(lambda row: _view(row, personal.get(row.entry_id)))


async def _personal(session: AsyncSession, entry_ids: list[int]) -> dict[int, AuditPersonalRow]:
    rows = await session.scalars(select(AuditPersonalRow).where(AuditPersonalRow.entry_id.in_(entry_ids)))
    return {row.entry_id: row for row in rows}


def _view(row: AuditEntryRow, personal: AuditPersonalRow | None) -> AuditEntry:
    parts = {}
    for name in ("before", "after"):
        kept, apart = getattr(row, name), None if personal is None else getattr(personal, name)
        parts[name] = None if kept is None and apart is None else _plain({**(kept or {}), **(apart or {})})
    return AuditEntry.model_validate(row).model_copy(update=parts)


def _plain(columns: dict[str, Any]) -> dict[str, Any]:
    shown = columns | {name: plain(columns[name]) for name in _IDS & columns.keys() if columns[name] is not None}
    if units := columns.get("units"):
        shown["units"] = {cadence: [plain(unit_id) for unit_id in ids] for cadence, ids in units.items()}
    return shown
