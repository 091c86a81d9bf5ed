"""A database of each test's own, an organization in it, and topics under a prefix of each test's own."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from producers.settings import ProducerSettings
from schemas.admin import create_topics
from schemas.database.configuration import OrganizationRow
from tests.databases import database, empty_database, migrated_template, postgres_address

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from tests.conftest import Kafka

__all__ = ["database", "empty_database", "migrated_template", "postgres_address"]


@pytest.fixture
def kafka_settings(kafka: Kafka) -> ProducerSettings:
    """The session's broker with all topics made under a new prefix."""
    settings = ProducerSettings(bootstrap_servers=kafka.bootstrap, topic_prefix=f"{uuid.uuid4().hex[:8]}.")
    create_topics(settings.librdkafka(), prefix=settings.topic_prefix)
    return settings


@pytest.fixture
async def organization(database: AsyncEngine) -> str:
    async with AsyncSession(database) as session, session.begin():
        session.add(OrganizationRow(organization_id="acme", name="Acme Foods", display_unit="F"))
    return "acme"
