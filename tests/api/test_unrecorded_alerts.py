"""An alert that SQL does not have yet takes commands all the same."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from database.records import AlertTimelineRow
from schemas import messages as m
from schemas.roles import Role
from schemas.topics import ALERTS
from tests.api.worlds import furnish

if TYPE_CHECKING:
    from broker.settings import KafkaSettings
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.broker, pytest.mark.postgres]


@pytest.fixture
def kafka_address(kafka_settings: KafkaSettings) -> KafkaSettings:
    return kafka_settings


def publish(kafka: KafkaSettings, *, alert_id: str = "fresh", organization_id: str = "acme", age_s: float = 0) -> None:
    at_ms = round((time.time() - age_s) * 1000)
    alert = m.AlertTriggered(
        alert_id=alert_id,
        unit_id="fridge",
        organization_id=organization_id,
        rule_id="high",
        kind=m.AlertKind.TEMPERATURE_HIGH,
        severity=m.Severity.CRITICAL,
        started_at_ms=at_ms,
        at_ms=at_ms,
    )
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    producer.produce(kafka.topic_prefix + ALERTS.name, key="fridge", value=m.encode(alert), timestamp=at_ms)
    assert producer.flush(10) == 0


async def test_an_alert_that_is_not_recorded_yet_is_acknowledged(api: Api) -> None:
    await furnish(api.database)
    headers = await api.key(Role.OPS, "acme")
    publish(api.kafka)
    for _ in range(2):
        answer = await api.client.post("/v1/alerts/fresh/acknowledge", headers=headers, json={"user_id": "ann"})
        assert (answer.status_code, answer.json()["by"]) == (202, "ann"), answer.text
    (command,) = [message for topic, _, message in await api.outbox() if topic == "alert-commands"]
    assert command is not None
    assert (command["alert_id"], command["unit_id"], command["type"]) == ("fresh", "fridge", "acknowledge")
    async with AsyncSession(api.database) as session:
        events = await session.scalars(select(AlertTimelineRow.event).where(AlertTimelineRow.alert_id == "fresh"))
        assert list(events) == ["acknowledged"]


async def test_what_belongs_to_others_or_is_unknown_or_long_past_stays_unknown(api: Api) -> None:
    await furnish(api.database)
    headers = await api.key(Role.OPS, "acme")
    publish(api.kafka, alert_id="old", age_s=30 * 3_600)
    publish(api.kafka, alert_id="theirs", organization_id="other")
    for alert_id in ("theirs", "old", "nobody"):
        answer = await api.client.post(f"/v1/alerts/{alert_id}/acknowledge", headers=headers)
        assert answer.status_code == 404, answer.text
    assert await api.outbox() == []
