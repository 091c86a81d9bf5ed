"""The producer, on its own and at a real broker."""

from __future__ import annotations

import math
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import pytest
from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import Consumer, TopicPartition

from broker.topics import create_topics
from producers.errors import BatchError, BatchTooLargeError, NotDeliveredError, QueueFullError
from producers.kafka import KafkaProducer, ReadingsProducer
from schemas.messages import Reading, ReadingBatch, encode
from schemas.topics import READINGS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from producers.kafka import Delivery
    from tests.conftest import Kafka

NOWHERE = {"bootstrap.servers": "127.0.0.1:1"}
BATCH = ReadingBatch("unit-1", [Reading(1_000, 4.0), Reading(2_000, 4.5)])


def published(producer: ReadingsProducer) -> Future[Delivery]:
    return producer.publish(READINGS, BATCH.unit_id, encode(BATCH), message_type="reading_batch")


@pytest.fixture
def prefix(kafka: Kafka) -> str:
    prefix = f"p{uuid.uuid4().hex[:8]}."
    create_topics({"bootstrap.servers": kafka.bootstrap}, prefix=prefix, topics=[READINGS])
    return prefix


@pytest.fixture
def offline() -> Iterator[ReadingsProducer]:
    producer = ReadingsProducer({**NOWHERE, "queue.buffering.max.messages": 10, "log_level": 0})
    yield producer
    with suppress(NotDeliveredError):
        producer.close(0)


@pytest.mark.broker
def test_1000_keys_lie_where_aiokafka_would_put_them(kafka: Kafka, prefix: str) -> None:
    keys = [f"unit-{n}" for n in range(990)] + ["", "é", "冷蔵庫", "a" * 200, "x", "xy", "xyz", "\x00", "ÿ", "0"]
    with KafkaProducer({"bootstrap.servers": kafka.bootstrap}, prefix=prefix) as producer:
        futures = {key: producer.publish(READINGS, key, b"{}", message_type="reading_batch") for key in keys}
        producer.flush()
    ours = {key: future.result(0).partition for key, future in futures.items()}
    partitions = list(range(READINGS.partitions))
    theirs = {key: DefaultPartitioner()(key.encode(), partitions, partitions) for key in keys}
    assert len(ours) == 1000
    assert ours == theirs
    assert set(ours.values()) == set(partitions)


@pytest.mark.broker
def test_a_batch_arrives_with_its_key_and_its_headers(kafka: Kafka, prefix: str) -> None:
    with ReadingsProducer({"bootstrap.servers": kafka.bootstrap}, prefix=prefix) as producer:
        delivery = published(producer).result(30)
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([TopicPartition(delivery.topic, delivery.partition, delivery.offset)])
    record = consumer.poll(30)
    consumer.close()
    assert record is not None
    headers = dict(record.headers() or [])
    assert record.key() == b"unit-1"
    assert msgspec.json.decode(record.value() or b"", type=ReadingBatch) == BATCH
    assert list(headers) == ["id", "type", "traceparent"]
    assert headers["type"] == b"reading_batch"
    assert len(headers["traceparent"] or b"") == 55


@pytest.mark.broker
def test_a_topic_that_the_broker_lacks_fails_the_future(kafka: Kafka) -> None:
    settings: dict[str, str | int | float | bool] = {
        "bootstrap.servers": kafka.bootstrap,
        "allow.auto.create.topics": False,
        "delivery.timeout.ms": 2_000,
        "topic.metadata.propagation.max.ms": 100,
    }
    producer = ReadingsProducer(settings, prefix=uuid.uuid4().hex)
    future = published(producer)
    with pytest.raises(NotDeliveredError, match="did not take the message"):
        future.result(30)
    producer.close()


def test_a_full_queue_is_told_and_not_grown(offline: ReadingsProducer) -> None:
    for _ in range(10):
        offline.send_batch(BATCH, wait_s=0)
    with pytest.raises(QueueFullError, match="messages wait for the broker and no room came"):
        offline.send_batch(BATCH, wait_s=0.05)
    assert 10 <= len(offline) <= 20


def test_a_flush_ends_in_its_time(offline: ReadingsProducer) -> None:
    future = published(offline)
    with pytest.raises(NotDeliveredError, match=r"not acknowledged within 0\.05 s"):
        offline.flush(0.05)
    assert not future.done()


def test_what_is_given_up_at_the_end_fails_its_future() -> None:
    producer = ReadingsProducer({**NOWHERE, "log_level": 0})
    future = published(producer)
    with pytest.raises(NotDeliveredError):
        producer.close(0)
    with pytest.raises(NotDeliveredError, match="PURGE"):
        future.result(5)


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        (ReadingBatch("", [Reading(1, 4.0)]), "has 0 characters"),
        (ReadingBatch("u" * 202, [Reading(1, 4.0)]), "has 202 characters"),
        (ReadingBatch("unit-1", []), "has no readings; send at least one"),
        (ReadingBatch("unit-1", [Reading(1, math.nan)]), "nan at 1 is not a temperature"),
        (ReadingBatch("unit-1", [Reading(1, 4.0), Reading(2, -math.inf)]), "-inf at 2 is not a temperature"),
    ],
)
def test_a_batch_that_nobody_could_use_is_refused(offline: ReadingsProducer, batch: ReadingBatch, says: str) -> None:
    with pytest.raises(BatchError, match=says):
        offline.send_batch(batch)


def test_a_batch_above_the_limit_is_refused_with_the_way_out(offline: ReadingsProducer) -> None:
    batch = ReadingBatch("unit-1", [Reading(1_700_000_000_000 + n, 4.25) for n in range(200_000)])
    with pytest.raises(BatchTooLargeError, match=r"above the limit of 4190208 bytes; split it in 3 or more batches"):
        offline.send_batch(batch)


def test_another_partitioner_is_refused() -> None:
    with pytest.raises(BatchError, match="must be 'murmur2_random'"):
        KafkaProducer({**NOWHERE, "partitioner": "consistent"})
