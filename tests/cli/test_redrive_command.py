"""`dead-letters redrive` and `sms rerun` beside a database: what it knows of the alert counts."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from broker.settings import KafkaSettings
from producers.kafka import KafkaProducer
from tests.api.worlds import BEGAN, alert
from tests.outbox.letter_box import LetterBox

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from tests.conftest import Kafka

pytestmark = [pytest.mark.anyio, pytest.mark.broker, pytest.mark.postgres]


async def test_an_sms_about_an_alert_that_somebody_is_at_takes_force(
    database: AsyncEngine, organization: str, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncSession(database) as session, session.begin():
        session.add(alert("a1", acknowledged_at=BEGAN, acknowledged_by="bob"))
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap, topic_prefix=f"{uuid.uuid4().hex[:8]}.")
    with KafkaProducer(settings.librdkafka(), prefix=settings.topic_prefix) as producer:
        box = LetterBox(settings, producer, monkeypatch)
        monkeypatch.setenv("DATABASE_URL", database.url.render_as_string(hide_password=False))
        place = box.dead_sms()
        box.sent_sms("s1", "delivered", requested_at_ms=time.time_ns() // 1_000_000)
        for command in (["dead-letters", "redrive", place], ["sms", "rerun", "s1"]):
            code, told = await asyncio.to_thread(box.run, *command)
            assert (code, "refused (alert_acknowledged): the alert was acknowledged by bob" in told) == (1, True), told
            assert (await asyncio.to_thread(box.run, *command, "--force"))[0] == 0
        assert len(box.in_lane()) == 3
