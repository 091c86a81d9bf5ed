"""The bridge between a real MQTT broker and a real Kafka: whatever dies, what a device was told is kept arrives."""

from __future__ import annotations

import functools
import threading
import uuid
from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec
import pytest

from broker.settings import KafkaSettings
from broker.topics import create_topics
from local.kafka import EmbeddedKafka
from local.ports import free_port
from producers.mqtt import Bridge, BridgeFailedError
from producers.mqtt_settings import MqttSettings
from schemas.messages import ReadingBatch
from schemas.topics import READINGS
from tests.api.topic_records import Record, records
from tests.producers.mqtt_world import BridgeProcess, device, guarded_broker, mqtt_broker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import iotcore

    from tests.conftest import Eventually, Kafka

pytestmark = pytest.mark.broker

AT_MS = 1_772_366_400_000


@pytest.fixture
def kafka_settings(kafka: Kafka) -> KafkaSettings:
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap, topic_prefix=f"{uuid.uuid4().hex[:8]}.")
    create_topics(settings.librdkafka(), prefix=settings.topic_prefix, topics=[READINGS])
    return settings


@pytest.fixture
def mqtt() -> Iterator[iotcore.Broker]:
    with mqtt_broker() as broker:
        yield broker


def payload(number: int) -> str:
    return f'{{"temperature_c": 4.5, "at_ms": {AT_MS + number}}}'


def times(found: list[Record]) -> set[int]:
    return {
        reading.at_ms - AT_MS
        for record in found
        for reading in msgspec.json.decode(record.value or b"", type=ReadingBatch).readings
    }


class Running:
    """A bridge in a thread of its own."""

    def __init__(self, port: int, kafka: KafkaSettings, **settings: int | str) -> None:
        options = MqttSettings.model_validate(
            {"host": "127.0.0.1", "port": port, "client_id": uuid.uuid4().hex[:8], **settings}
        )
        self.bridge = Bridge(options, kafka, lambda: AT_MS)
        self._thread = threading.Thread(target=self.bridge.run)
        self._thread.start()

    def close(self) -> None:
        self.bridge.stop()
        self._thread.join(40)
        assert not self._thread.is_alive()


def test_killed_again_and_again_every_message_that_a_device_sent_is_in_kafka(
    mqtt: iotcore.Broker, kafka_settings: KafkaSettings, tmp_path: Path, eventually: Eventually
) -> None:
    bridge = BridgeProcess(mqtt.port, kafka_settings, tmp_path / "bridge.log")

    def arrived() -> int:
        return len(times(records(kafka_settings, READINGS)))

    def more_than(count: int) -> bool:
        return arrived() > count

    total = killed_at_work = 0
    try:
        bridge.start()
        # Only from its first subscription on the broker keeps anything for it.
        eventually(lambda: bridge.times_logged("mqtt.subscribed"), within_s=60)
        with device(mqtt.port) as sensor:
            for _ in range(3):
                had = arrived()
                for number in range(total, total + 1_000):
                    sensor.send(f"unit-{number % 7}", payload(number))
                total += 1_000
                more: Callable[[], bool] = functools.partial(more_than, had)
                eventually(more, within_s=60)
                bridge.kill()
                killed_at_work += arrived() < total
                bridge.start()
            sensor.all_acknowledged()
        eventually(lambda: arrived() == total, within_s=120, every_s=0.2)
        assert bridge.end() == 0, bridge.log.read_text()
    finally:
        bridge.kill()
    ids = defaultdict(set)
    for record in records(kafka_settings, READINGS):
        ids[record.value].add(record.headers["id"])
    assert all(len(found) == 1 for found in ids.values())
    assert killed_at_work


def test_with_kafka_away_nothing_is_acknowledged_memory_is_bounded_and_nothing_is_lost(
    mqtt: iotcore.Broker, tmp_path: Path, eventually: Eventually
) -> None:
    with EmbeddedKafka(tmp_path) as kafka:
        settings = KafkaSettings(bootstrap_servers=kafka.bootstrap)
        create_topics(settings.librdkafka(), topics=[READINGS])
        running = Running(mqtt.port, settings, window=20)
        try:
            with device(mqtt.port) as sensor:
                eventually(lambda: running.bridge.subscribed, within_s=60)
                sensor.send("first", payload(0))
                eventually(lambda: times(records(settings, READINGS)) == {0}, within_s=60)
                kafka.kill()
                for number in range(1, 301):
                    sensor.send(f"unit-{number % 7}", payload(number))
                sensor.all_acknowledged()
                eventually(lambda: running.bridge.on_the_way == 20, within_s=60)
                assert running.bridge.acknowledged == 1
                kafka.start()
                eventually(lambda: times(records(settings, READINGS)) == set(range(301)), within_s=120, every_s=0.2)
                # Each once: the window alone brings no repetition.
                assert len(records(settings, READINGS)) == 301
        finally:
            running.close()


def test_stopped_with_kafka_away_it_ends_and_the_next_one_gets_what_was_open(
    mqtt: iotcore.Broker, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr("producers.mqtt.FLUSH_S", 0.2)
    nowhere = KafkaSettings(bootstrap_servers="127.0.0.1:1", topic_prefix=kafka_settings.topic_prefix)
    first = Running(mqtt.port, nowhere, client_id="the-same")
    with device(mqtt.port) as sensor:
        eventually(lambda: first.bridge.subscribed, within_s=60)
        for number in range(50):
            sensor.send("unit", payload(number))
        eventually(lambda: first.bridge.on_the_way == 50, within_s=60)
        first.close()
        sensor.send("unit", payload(50))
        sensor.all_acknowledged()
    second = Running(mqtt.port, kafka_settings, client_id="the-same")
    try:
        eventually(lambda: times(records(kafka_settings, READINGS)) == set(range(51)), within_s=60)
    finally:
        second.close()


def test_it_comes_back_to_a_broker_that_was_restarted(kafka_settings: KafkaSettings, eventually: Eventually) -> None:
    port = free_port()
    with mqtt_broker(port):
        running = Running(port, kafka_settings)
        eventually(lambda: running.bridge.subscribed, within_s=60)
    try:
        eventually(lambda: not running.bridge.subscribed)
        with mqtt_broker(port):
            eventually(lambda: running.bridge.subscribed, within_s=60)
            with device(port) as sensor:
                sensor.send("unit", payload(1))
                eventually(lambda: times(records(kafka_settings, READINGS)) == {1}, within_s=60)
    finally:
        running.close()


def test_what_is_no_reading_goes_on_as_it_came_and_holds_up_nothing(
    mqtt: iotcore.Broker, kafka_settings: KafkaSettings, eventually: Eventually
) -> None:
    with device(mqtt.port) as sensor:
        sensor.send("kept", "3.5", retain=True)
        sensor.all_acknowledged()
        running = Running(mqtt.port, kafka_settings)
        try:
            eventually(lambda: running.bridge.subscribed, within_s=60)
            sensor.send("odd", b"\xff\xfe broken")
            sensor.send("odd", b"")
            sensor.send("odd", "4.5")
            eventually(lambda: len(records(kafka_settings, READINGS)) == 3, within_s=60)
            eventually(lambda: running.bridge.on_the_way == 0)
        finally:
            running.close()
    assert {(record.key, record.value) for record in records(kafka_settings, READINGS)} == {
        ("acme/odd", b"\xff\xfe broken"),
        ("acme/odd", b""),
        ("acme/odd", b'{"unit_id":"acme/odd","readings":[{"at_ms":%d,"temperature_c":4.5}]}' % AT_MS),
    }


def test_it_shows_its_password_to_a_broker_that_wants_one(
    kafka_settings: KafkaSettings, tmp_path: Path, eventually: Eventually
) -> None:
    account = {"username": "bridge", "password": "for-tests-only"}
    with guarded_broker(tmp_path, **account) as broker:
        stranger, known = Running(broker.port, kafka_settings), Running(broker.port, kafka_settings, **account)
        try:
            with device(broker.port, **account) as sensor:
                eventually(lambda: known.bridge.subscribed, within_s=60)
                sensor.send("unit", payload(1))
                eventually(lambda: times(records(kafka_settings, READINGS)) == {1}, within_s=60)
                assert not stranger.bridge.subscribed
        finally:
            known.close()
            stranger.close()


def test_without_its_topic_it_says_what_to_do(mqtt: iotcore.Broker, kafka: Kafka) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap, topic_prefix="none.")
    bridge = Bridge(MqttSettings(host="127.0.0.1", port=mqtt.port), settings, lambda: AT_MS)
    with pytest.raises(BridgeFailedError, match=r"none\.readings does not exist; run `freshtrack topics create`"):
        bridge.run()
