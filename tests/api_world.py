"""A database of each test's own, an organization in it, and topics under a prefix of each test's own."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.app import create_app
from api.authentication import make_key
from api.settings import ApiSettings, TrustSettings
from broker.partition_counts import PartitionCounts
from broker.settings import KafkaSettings
from broker.topics import create_topics
from database.configuration import ApiKeyRow, OrganizationRow
from database.engine import DatabaseSettings
from database.queues import OutboxRow
from outbox.writer import OUTBOX_TOPICS
from schemas.topics import ALERTS, READINGS, SMS_INBOUND, SMS_RECEIPTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine

    from schemas.roles import Role
    from tests.conftest import Kafka

UNSUBSCRIBE_SECRET = "an unsubscribe secret of the tests"


@pytest.fixture
def kafka_settings(kafka: Kafka) -> KafkaSettings:
    """The session's broker with the topics that the api and the relay write, under a new prefix."""
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap, topic_prefix=f"{uuid.uuid4().hex[:8]}.")
    create_topics(
        settings.librdkafka(),
        prefix=settings.topic_prefix,
        partitions=PartitionCounts(4),
        topics=[ALERTS, READINGS, SMS_RECEIPTS, SMS_INBOUND, *OUTBOX_TOPICS],
    )
    return settings


@pytest.fixture
def kafka_address() -> KafkaSettings:
    """Where nothing listens: what needs a broker asks for the fixture `kafka_settings` and gives that instead."""
    return KafkaSettings(bootstrap_servers="127.0.0.1:1")


@pytest.fixture
def trust() -> TrustSettings:
    """By what the API knows callers without a key; a test of its own may give another."""
    return TrustSettings(unsubscribe_secret=SecretStr(UNSUBSCRIBE_SECRET))


@pytest.fixture
async def organization(database: AsyncEngine) -> str:
    async with AsyncSession(database) as session, session.begin():
        session.add(OrganizationRow(organization_id="acme", name="Acme Foods", display_unit="F"))
    return "acme"


class Api(NamedTuple):
    """A running application: a client without a key, its database, its broker, and a clock that tests may set."""

    client: httpx.AsyncClient
    database: AsyncEngine
    kafka: KafkaSettings
    app: FastAPI

    async def key(self, role: Role, organization_id: str | None, user_id: str | None = None) -> dict[str, str]:
        """The header of a new key; `user_id` is the contact who uses it."""
        made = make_key()
        async with AsyncSession(self.database) as session, session.begin():
            session.add(
                ApiKeyRow(
                    key_id=made.key_id,
                    organization_id=organization_id,
                    role=role,
                    name=f"{role} of {organization_id}",
                    user_id=None if user_id is None else f"{organization_id}/{user_id}",
                    secret_sha256=made.secret_sha256,
                )
            )
        return {"Authorization": f"Bearer {made.key}"}

    async def outbox(self) -> list[tuple[str, str, dict[str, Any] | None]]:
        """Topic, key and decoded value of each waiting message, in order."""
        async with AsyncSession(self.database) as session:
            rows = await session.scalars(select(OutboxRow).order_by(OutboxRow.sequence))
            return [(row.topic, row.key, None if row.value is None else json.loads(row.value)) for row in rows]


@pytest.fixture
async def api(
    database: AsyncEngine, organization: str, kafka_address: KafkaSettings, trust: TrustSettings
) -> AsyncIterator[Api]:
    """The API on the test's database, with the organizations acme and other."""
    async with AsyncSession(database) as session, session.begin():
        session.add(OrganizationRow(organization_id="other", name="Other Ltd"))
    settings = DatabaseSettings(url=database.url.render_as_string(hide_password=False))
    app = create_app(ApiSettings(key_cache_s=0, unit_cache_s=0), settings, kafka_address, trust=trust)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.example.com") as client:
            yield Api(client, database, kafka_address, app)
