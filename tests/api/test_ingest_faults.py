"""Ingest with the broker away: a clear answer, bounded memory, and everything well again when it is back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from api.app import create_app
from api.settings import ApiSettings
from broker.settings import KafkaSettings
from broker.topics import create_topics
from database.configuration import UnitRow
from database.engine import DatabaseSettings
from local.kafka import EmbeddedKafka
from schemas import messages as m
from schemas.roles import Role
from schemas.topics import READINGS
from tests.api.topic_records import records
from tests.api_world import Api

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

pytestmark = [pytest.mark.anyio, pytest.mark.broker, pytest.mark.postgres]

NOW_MS = round(datetime.now(UTC).timestamp() * 1000)


async def test_with_the_broker_away_the_answer_is_503_and_no_2xx_is_lost(
    database: AsyncEngine, organization: str, tmp_path: Path
) -> None:
    async with AsyncSession(database) as session, session.begin():
        session.add(UnitRow(unit_id="acme/fridge", organization_id=organization, name="Fridge"))
    address = DatabaseSettings(url=database.url.render_as_string(hide_password=False))
    settings = ApiSettings(delivery_limit_s=2, unsent_limit_bytes=4_096)
    with EmbeddedKafka(tmp_path) as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap)
        create_topics(kafka.librdkafka(), topics=[READINGS])
        app = create_app(settings, address, kafka)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.example.com") as client,
        ):
            key = await Api(client, database, kafka, app).key(Role.GATEWAY, organization)
            sent = 0

            async def post() -> httpx.Response:
                nonlocal sent
                sent += 1
                at_ms = NOW_MS - sent
                body = {"unit_id": "fridge", "at_ms": at_ms, "temperature_c": 4.0}
                answer = await client.post("/v1/readings", json=body, headers=key)
                if answer.status_code == 202:
                    told.add(at_ms)
                return answer

            told: set[int] = set()
            assert (await post()).status_code == 202
            broker.kill()

            # Some wait for the broker until their time is up, the rest is turned away at once: the bytes are counted.
            turned_away = await asyncio.gather(*(post() for _ in range(200)))
            assert {answer.status_code for answer in turned_away} == {503}
            assert all(answer.headers["retry-after"] for answer in turned_away)
            assert sum("slower than the incoming readings" in answer.json()["detail"] for answer in turned_away) > 100
            ready = await client.get("/readyz")
            assert (ready.status_code, ready.json()["kafka"]) == (503, "does not answer")

            broker.start()
            async with asyncio.timeout(30):
                while (await post()).status_code != 202:
                    pass
            stored = {
                reading.at_ms
                for record in records(kafka, READINGS)
                for reading in msgspec.json.decode(record.value or b"", type=m.ReadingBatch).readings
            }
            assert told <= stored
