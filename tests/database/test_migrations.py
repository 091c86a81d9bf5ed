"""Migrations on a real PostgreSQL: from every revision forward, many at once, and equal to the models."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import DateTime, func, select, text
from sqlalchemy.exc import IntegrityError

from database.configuration import OrganizationRow, UnitRow
from database.engine import DatabaseSettings, make_engine
from database.upgrade import alembic_config, metadata, newest_revision, present_revision, upgrade
from schemas.messages import Cadence

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncEngine

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

ROOT = Path(__file__).resolve().parents[2]


def revisions() -> list[str]:
    """Every revision, the oldest first."""
    scripts = ScriptDirectory.from_config(alembic_config())
    return [script.revision for script in reversed(list(scripts.walk_revisions()))]


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    return list(compare_metadata(context, metadata()))


def test_revisions_are_one_line_and_each_file_bears_its_number() -> None:
    """Two branches of work that both added a revision are noticed here, and not by whoever upgrades."""
    folder = ROOT / "database" / "migrations" / "versions"
    numbers = sorted(path.name.partition("_")[0] for path in folder.glob("r*.py"))
    assert numbers == [f"r{number:04}" for number in range(1, len(numbers) + 1)] == revisions()


async def test_migrations_make_what_the_models_say(empty_database: AsyncEngine) -> None:
    await upgrade(empty_database)
    async with empty_database.connect() as connection:
        assert await connection.run_sync(differences) == []


@pytest.mark.parametrize("revision", revisions())
async def test_every_earlier_revision_migrates_forward_and_keeps_its_rows(
    empty_database: AsyncEngine, revision: str
) -> None:
    await upgrade(empty_database, revision)
    async with empty_database.begin() as connection:
        await connection.execute(text("INSERT INTO organizations (organization_id, name) VALUES ('o1', 'Cold & Co')"))
        await connection.execute(text("INSERT INTO units (unit_id, organization_id, name) VALUES ('u1', 'o1', 'A')"))

    assert await upgrade(empty_database) == (revision, newest_revision())

    async with empty_database.connect() as connection:
        assert await connection.run_sync(differences) == []
        kept = await connection.execute(
            select(UnitRow.name, OrganizationRow.name).join(
                OrganizationRow, OrganizationRow.organization_id == UnitRow.organization_id
            )
        )
        assert [tuple(row) for row in kept] == [("A", "Cold & Co")]


async def test_many_processes_that_upgrade_at_once_all_succeed(empty_database: AsyncEngine) -> None:
    address = empty_database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "cli", "db", "upgrade"]
    processes = [
        await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env={"DATABASE_URL": address}, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(4)
    ]
    outputs = [(await process.communicate())[0].decode().strip() for process in processes]

    assert [process.returncode for process in processes] == [0] * 4
    head = newest_revision()
    assert sorted(outputs) == [f"already at {head}"] * 3 + [f"empty -> {head}"]


async def test_a_failed_migration_leaves_the_database_as_it_was(empty_database: AsyncEngine) -> None:
    first, second, *_ = revisions()
    await upgrade(empty_database, first)
    async with empty_database.begin() as connection:
        await connection.execute(text("CREATE TABLE digest_ledger (in_the_way integer)"))

    with pytest.raises(Exception, match="digest_ledger"):
        await upgrade(empty_database, second)

    async with empty_database.connect() as connection:
        assert await connection.run_sync(present_revision) == first
        assert (await connection.execute(text("SELECT to_regclass('alerts')"))).scalar() is None


def test_every_time_is_an_instant_and_not_a_local_time() -> None:
    times = [column for table in metadata().tables.values() for column in table.columns if "_at" in column.name]
    assert times
    assert all(isinstance(column.type, DateTime) and column.type.timezone for column in times)


async def test_the_database_refuses_words_outside_of_a_closed_set(empty_database: AsyncEngine) -> None:
    await upgrade(empty_database)
    async with empty_database.connect() as connection:
        with pytest.raises(IntegrityError, match="ck_organizations_display_unit"):
            await connection.execute(
                text("INSERT INTO organizations (organization_id, name, display_unit) VALUES ('o', 'n', 'K')")
            )


async def test_the_database_lists_no_cadences_so_a_new_one_needs_no_migration(empty_database: AsyncEngine) -> None:
    await upgrade(empty_database)
    async with empty_database.connect() as connection:
        listing = await connection.execute(
            text("SELECT conname FROM pg_constraint WHERE pg_get_constraintdef(oid) LIKE ANY (:words)"),
            {"words": [f"%{cadence}%" for cadence in Cadence]},
        )
        assert list(listing.scalars()) == []


async def test_every_session_speaks_utc_and_limits_its_statements(empty_database: AsyncEngine) -> None:
    async with empty_database.connect() as connection:
        zone, limit = (
            await connection.execute(
                select(func.current_setting("timezone"), func.current_setting("statement_timeout"))
            )
        ).one()
    assert (zone, limit) == ("UTC", "30s")


@pytest.mark.parametrize("wrong", ["mysql://host/db", "sqlite:///x.db", "not an address"])
def test_an_address_of_another_database_is_refused_without_repeating_it(wrong: str) -> None:
    with pytest.raises(ValueError, match="DATABASE_URL") as raised:
        DatabaseSettings(url=wrong)
    assert "input_value" not in str(raised.value)


def test_the_password_is_in_no_representation() -> None:
    settings = DatabaseSettings(url="postgresql://someone:hush@db.example.com/freshtrack")
    assert "hush" not in repr(settings) + str(settings) + repr(settings.address) + repr(make_engine(settings))
