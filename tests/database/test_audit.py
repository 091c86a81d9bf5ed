"""The audit trail in the database: every change, none lost, none changed, no secret, erased only where the law asks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from database.audit import AuditEntryRow, AuditPersonalRow
from database.audit_functions import KEPT_DAYS
from database.audit_triggers import AUDITED, install
from database.configuration import ApiKeyRow, ContactRow, OrganizationRow, RuleRow, UnitRow
from database.retention import RetentionSettings, prune
from database.upgrade import TABLE_MODULES, metadata

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

# Written by workers and by the outbox, in the course of things; what people decide in them is an act of its own.
NO_CONFIGURATION = {
    "alerts",
    "alert_timeline",
    "audit_personal",
    "audit_trail",
    "digest_ledger",
    "digest_letters",
    "digest_reports",
    "email_log",
    "erasures",
    "idempotency_keys",
    "job_failures",
    "outbox",
    "recorder_offsets",
    "recorder_watermarks",
    "sign_in_links",
    "sms_alert_log",
    "sms_requests",
    "unit_aggregates",
    "web_sessions",
    "webhook_events",
}


async def entries(database: AsyncEngine) -> list[AuditEntryRow]:
    async with AsyncSession(database) as session:
        return list(await session.scalars(select(AuditEntryRow).order_by(AuditEntryRow.entry_id)))


async def personal(database: AsyncEngine) -> list[tuple[str | None, Any, Any]]:
    async with AsyncSession(database) as session:
        rows = await session.scalars(select(AuditPersonalRow).order_by(AuditPersonalRow.entry_id))
        return [(row.user_id, row.before, row.after) for row in rows]


async def furnish(database: AsyncEngine) -> None:
    async with AsyncSession(database) as session, session.begin():
        session.add(OrganizationRow(organization_id="acme", name="Acme"))
        await session.flush()
        session.add(ContactRow(user_id="u7", organization_id="acme", name="Zoe Quill", phone_e164="+12025550107"))
        session.add(UnitRow(unit_id="fridge", organization_id="acme", name="Fridge"))
        await session.flush()
        session.add(RuleRow(unit_id="fridge", rule_id="high", limit_side="high", severity="critical", limit_c=8))


def test_every_table_is_audited_or_said_to_be_no_configuration() -> None:
    assert {audited.table for audited in AUDITED} | NO_CONFIGURATION == set(metadata().tables)


def test_every_module_with_tables_is_named_where_all_tables_are_asked_for() -> None:
    """A table that nobody imported would be missing from exports, erasures and the list of retention."""
    folder = Path(__file__).resolve().parents[2] / "database"
    with_tables = {path.stem for path in folder.glob("*.py") if "    __tablename__ = " in path.read_text()}
    assert {module.__name__.partition(".")[2] for module in TABLE_MODULES} == with_tables


async def test_an_update_keeps_old_and_new_values_of_what_changed_and_nothing_else(database: AsyncEngine) -> None:
    await furnish(database)
    async with database.begin() as connection:
        await connection.execute(text("SELECT set_config('freshtrack.actor', 'bo', true)"))
        await connection.execute(text("SELECT set_config('freshtrack.origin', '192.0.2.9', true)"))
        await connection.execute(update(RuleRow).values(limit_c=9.5))
    [*_, entry] = await entries(database)
    assert (entry.organization_id, entry.actor, entry.origin) == ("acme", "bo", "192.0.2.9")
    assert (entry.action, entry.subject_kind, entry.subject_id) == ("rule.changed", "rule", "fridge high")
    assert (entry.before, entry.after) == ({"limit_c": 8}, {"limit_c": 9.5})
    assert abs(entry.at - datetime.now(UTC)) < timedelta(minutes=1)


async def test_an_update_that_changes_nothing_is_no_entry(database: AsyncEngine) -> None:
    await furnish(database)
    before = len(await entries(database))
    async with database.begin() as connection:
        await connection.execute(update(UnitRow).values(name="Fridge", version=UnitRow.version + 1))
    assert len(await entries(database)) == before


async def test_a_change_that_is_rolled_back_leaves_no_entry(database: AsyncEngine) -> None:
    await furnish(database)
    before = len(await entries(database))
    async with database.connect() as connection:
        await connection.execute(update(UnitRow).values(name="Other"))
        await connection.rollback()
    assert len(await entries(database)) == before


async def test_what_goes_with_a_deleted_row_has_entries_of_its_own(database: AsyncEngine) -> None:
    await furnish(database)
    async with database.begin() as connection:
        await connection.execute(text("SELECT set_config('freshtrack.organization', 'acme', true)"))
        await connection.execute(delete(UnitRow))
    last = {(entry.action, entry.organization_id) for entry in (await entries(database))[-2:]}
    assert last == {("unit.deleted", "acme"), ("rule.deleted", "acme")}


async def test_a_secret_is_in_no_entry(database: AsyncEngine) -> None:
    await furnish(database)
    async with AsyncSession(database) as session, session.begin():
        session.add(ApiKeyRow(key_id="k", organization_id="acme", role="ops", name="Key", secret_sha256=b"\x5a" * 32))
    async with database.begin() as connection:
        await connection.execute(update(ApiKeyRow).values(secret_sha256=b"\x6b" * 32))
        rows = await connection.scalars(text("SELECT CAST(entry AS text) FROM audit_trail AS entry"))
        everything = " ".join(rows)
    assert "api_key.changed" in everything
    assert "5a5a5a" not in everything
    assert "6b6b6b" not in everything


async def test_names_and_numbers_stand_apart_from_the_entry(database: AsyncEngine) -> None:
    await furnish(database)
    async with database.begin() as connection:
        await connection.execute(update(ContactRow).values(phone_e164="+12025550108", on_duty=False))
    [*_, entry] = await entries(database)
    assert (entry.before, entry.after) == ({"on_duty": True}, {"on_duty": False})
    assert (await personal(database))[-1] == ("u7", {"phone_e164": "+12025550107"}, {"phone_e164": "+12025550108"})


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_trail SET actor = 'nobody'",
        "DELETE FROM audit_trail",
        "TRUNCATE audit_trail CASCADE",
        "UPDATE audit_personal SET after = '{}'",
        "DELETE FROM audit_personal",
        "TRUNCATE audit_personal",
    ],
)
async def test_the_database_refuses_to_change_or_delete_what_is_written(database: AsyncEngine, statement: str) -> None:
    await furnish(database)
    before = len(await entries(database)), await personal(database)
    async with database.connect() as connection:
        with pytest.raises(DBAPIError, match="refused"):
            await connection.execute(text(statement))
    assert (len(await entries(database)), await personal(database)) == before


async def test_pruning_takes_entries_that_are_older_than_a_year_and_no_others(database: AsyncEngine) -> None:
    now = datetime.now(UTC)
    async with AsyncSession(database) as session, session.begin():
        for days in (KEPT_DAYS - 1, KEPT_DAYS + 50):
            entry = AuditEntryRow(
                at=now - timedelta(days=days), actor="bo", action="unit.changed", subject_kind="unit", subject_id="u"
            )
            session.add(entry)
            await session.flush()
            await session.execute(insert(AuditPersonalRow).values(entry_id=entry.entry_id, user_id="u7"))

    deleted = await prune(database, RetentionSettings(audit_trail=KEPT_DAYS + 20), now=now)

    assert deleted["audit_trail"] == 1
    assert (len(await entries(database)), len(await personal(database))) == (1, 1)


def test_a_retention_of_less_than_a_year_is_refused() -> None:
    with pytest.raises(ValueError, match="365 days at least"):
        RetentionSettings(audit_trail=30)


async def test_installing_again_changes_nothing(database: AsyncEngine) -> None:
    async with database.begin() as connection:
        await connection.run_sync(install)
    await furnish(database)
    assert [entry.action for entry in await entries(database)] == [
        "organization.created",
        "contact.created",
        "unit.created",
        "rule.created",
    ]
