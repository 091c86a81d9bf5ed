"""Brings a database to the newest revision; safe to run from any number of processes at once."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from database import (
    audit,
    audit_triggers,
    configuration,
    digests,
    notifications,
    queues,
    records,
    sessions,
    watermarks,
)
from database.declarative import Row

if TYPE_CHECKING:
    from sqlalchemy import Connection, MetaData
    from sqlalchemy.ext.asyncio import AsyncEngine

MIGRATIONS = Path(__file__).resolve().with_name("migrations")
# An arbitrary constant: the holder of this lock migrates, the others wait and then find nothing to do.
MIGRATION_LOCK = 7_204_110_001
TABLE_MODULES = (configuration, records, notifications, digests, queues, watermarks, audit, sessions)


def metadata() -> MetaData:
    """All tables."""
    return Row.metadata


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's settings; there is no ini file, because the connection is handed over."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@cache
def newest_revision() -> str:
    """The revision that this checkout's code expects; reads the migrations' files once."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert head is not None
    return head


def present_revision(connection: Connection) -> str | None:
    """The revision of the database; None if it has no tables yet."""
    return MigrationContext.configure(connection).get_current_revision()


async def upgrade(engine: AsyncEngine, revision: str = "head") -> tuple[str | None, str | None]:
    """Migrate to `revision`; returns the revisions before and after.

    All of it is one transaction under one advisory lock: a process that dies in the middle leaves the database as it
    was, and of many that start together one migrates.
    """
    async with engine.begin() as connection:
        # The default limit of a statement is for requests; a migration may wait for others and take its time.
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        before = await connection.run_sync(present_revision)
        await connection.run_sync(lambda sync: command.upgrade(alembic_config(sync), revision))
        after = await connection.run_sync(present_revision)
        if after == newest_revision():
            await connection.run_sync(audit_triggers.install)
    return before, after
