"""Every row that belongs to an organization, for its export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from database.personal import HIDDEN
from database.upgrade import metadata

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncSession

# Rows that belong to an organization by their unit or by their entry of the audit trail.
_BY_OTHERS = {
    "sign_in_links": "user_id IN (SELECT user_id FROM users WHERE organization_id = :organization)",
    "rules": "unit_id IN (SELECT unit_id FROM units WHERE organization_id = :organization)",
    "maintenance_windows": "unit_id IN (SELECT unit_id FROM units WHERE organization_id = :organization)",
    "audit_personal": "entry_id IN (SELECT entry_id FROM audit_trail WHERE organization_id = :organization)",
    "digest_letters": "job_id IN (SELECT job_id FROM digest_reports WHERE organization_id = :organization)",
}
# Of no organization: queues, and numbers that opted out from everybody.
UNOWNED = frozenset(
    {"idempotency_keys", "opt_outs", "outbox", "recorder_offsets", "recorder_watermarks", "webhook_events"}
)


def owned() -> dict[str, str]:
    """The condition by which each table's rows belong to `:organization`."""
    found = {}
    for name, table in metadata().tables.items():
        if "organization_id" in table.columns:
            found[name] = "organization_id = :organization"
        elif name in _BY_OTHERS:
            found[name] = _BY_OTHERS[name]
    return found


async def rows_of(session: AsyncSession, organization_id: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Table and row, as JSON, of everything that belongs to the organization; no secrets. Streams: it may be much."""
    for table, condition in owned().items():
        statement = text(
            f"SELECT to_jsonb(found) - CAST(:hidden AS text[]) FROM {table} AS found WHERE {condition}"  # noqa: S608 - our names
        )
        async for row in await session.stream_scalars(
            statement, {"organization": organization_id, "hidden": list(HIDDEN)}
        ):
            yield table, row
