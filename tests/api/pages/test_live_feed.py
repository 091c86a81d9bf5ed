"""The reader of the live page, on a real broker."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from api.pages.live_feed import LiveFeed
from broker.topics import create_topics
from schemas import messages as m
from schemas.topics import ALERTS, READINGS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broker.settings import KafkaSettings
    from schemas.topic import AnyTopic
    from tests.conftest import Eventually

pytestmark = [pytest.mark.anyio, pytest.mark.broker]

FUTURE_MS = 300_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class World:
    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._producer = Producer(kafka.librdkafka())
        create_topics(kafka.librdkafka(), prefix=kafka.topic_prefix, topics=[ALERTS])

    def send(self, topic: AnyTopic, value: bytes, key: str = "u") -> None:
        self._producer.produce(self._kafka.topic(topic.name), value, key)
        assert self._producer.flush(10) == 0

    def read(self, celsius: float, unit_id: str = "u", ahead_ms: int = 0) -> None:
        batch = m.ReadingBatch(unit_id, [m.Reading(now_ms() + ahead_ms, celsius)])
        self.send(READINGS, m.encode(batch), unit_id)

    @asynccontextmanager
    async def feed(self) -> AsyncIterator[LiveFeed]:
        feed = LiveFeed(self._kafka, now_ms, FUTURE_MS)
        feed.start()
        try:
            yield feed
        finally:
            await feed.stop()


@pytest.fixture
def world(kafka_settings: KafkaSettings) -> World:
    return World(kafka_settings)


def alert_of(kind: type[m.AlertTriggered | m.AlertResolved], at_ms: int) -> m.AlertTriggered | m.AlertResolved:
    return kind(
        alert_id="a-1",
        unit_id="u",
        organization_id="acme",
        rule_id="h",
        kind=m.AlertKind.TEMPERATURE_HIGH,
        severity=m.Severity.CRITICAL,
        started_at_ms=at_ms,
        at_ms=at_ms,
    )


async def test_it_begins_with_the_last_minutes_and_then_tells_of_each_change(
    world: World, eventually: Eventually
) -> None:
    world.read(4.0)
    async with world.feed() as feed:
        await eventually.awaited(lambda: "u" in feed.units, within_s=20)
        assert feed.units["u"].temperature_c == 4.0
        mine, others = feed.subscribe(["u"]), feed.subscribe(["v"])
        world.read(9.0)
        begin = time.monotonic()
        assert await mine.changes(10) == {"u"}
        assert time.monotonic() - begin < 5
        assert feed.units["u"].temperature_c == 9.0
        assert await others.changes(0.01) == set()


async def test_an_alert_is_known_from_its_beginning_to_its_end(world: World, eventually: Eventually) -> None:
    world.send(ALERTS, m.encode(alert_of(m.AlertTriggered, now_ms())))
    async with world.feed() as feed:
        await eventually.awaited(lambda: "u" in feed.alerts, within_s=20)
        world.send(ALERTS, m.encode(alert_of(m.AlertResolved, now_ms())))
        await eventually.awaited(lambda: "u" not in feed.alerts, within_s=20)
        assert list(feed.resolved) == ["a-1"]


async def test_what_cannot_be_is_left_out_and_the_rest_goes_on(world: World, eventually: Eventually) -> None:
    async with world.feed() as feed:
        await eventually.awaited(lambda: feed.reading, within_s=20)
        for value in (b"", b"\xff", b"[]", b'{"unit_id":"u","readings":[{"at_ms":1,"temperature_c":"warm"}]}'):
            world.send(READINGS, value)
        world.send(ALERTS, b"{}")
        world.read(99.0, ahead_ms=2 * FUTURE_MS)
        world.read(5.0)
        await eventually.awaited(lambda: "u" in feed.units, within_s=20)
        assert feed.units["u"].temperature_c == 5.0


async def test_without_a_broker_it_says_so_and_stops_in_time(kafka_address: KafkaSettings) -> None:
    feed = LiveFeed(kafka_address, now_ms, FUTURE_MS)
    feed.start()
    subscription = feed.subscribe(["u"])
    begin = time.monotonic()
    await feed.stop()
    assert not feed.reading
    assert subscription.closed
    assert await subscription.changes(10) == set()
    assert time.monotonic() - begin < 10
