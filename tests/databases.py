"""Databases for tests: an empty one, and a migrated one that is copied from a template in a blink."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url, text

from database.engine import DatabaseSettings, make_engine
from database.upgrade import upgrade

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from tests.conftest import Postgres


@pytest.fixture(scope="session")
def postgres_address(postgres: Postgres) -> str:
    return postgres.url


def engine_of(address: str, database: str) -> AsyncEngine:
    url = make_url(address).set(database=database).render_as_string(hide_password=False)
    return make_engine(DatabaseSettings(url=url))


async def _administer(address: str, *statements: str) -> None:
    """Run statements that may not stand in a transaction."""
    engine = make_engine(DatabaseSettings(url=address)).execution_options(isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()


@pytest.fixture(scope="session")
def migrated_template(postgres_address: str) -> str:
    """The name of a database at the newest revision; nobody may stay connected to it."""
    name = f"template_{uuid.uuid4().hex}"

    async def make() -> None:
        await _administer(postgres_address, f"CREATE DATABASE {name}")
        engine = engine_of(postgres_address, name)
        await upgrade(engine)
        await engine.dispose()

    asyncio.run(make())
    return name


@pytest.fixture
async def empty_database(postgres_address: str) -> AsyncIterator[AsyncEngine]:
    """A database without a table."""
    name = f"empty_{uuid.uuid4().hex}"
    await _administer(postgres_address, f"CREATE DATABASE {name}")
    engine = engine_of(postgres_address, name)
    yield engine
    await engine.dispose()
    await _administer(postgres_address, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(postgres_address: str, migrated_template: str) -> AsyncIterator[AsyncEngine]:
    """A database of the test's own, at the newest revision."""
    name = f"test_{uuid.uuid4().hex}"
    await _administer(postgres_address, f"CREATE DATABASE {name} TEMPLATE {migrated_template} STRATEGY FILE_COPY")
    engine = engine_of(postgres_address, name)
    yield engine
    await engine.dispose()
    await _administer(postgres_address, f"DROP DATABASE {name} WITH (FORCE)")
