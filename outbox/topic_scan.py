"""Reads what a topic holds now: all of it, or from a time on, or one record. Joins no group and commits nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from confluent_kafka import Message

    from broker.settings import KafkaSettings
    from schemas.topics import AnyTopic

READ_LIMIT_S = 60.0
POLL_S = 0.2


class TopicReadError(RuntimeError):
    """A topic could not be read; the message says which and what to do."""


class Found(NamedTuple):
    """A record. `topic` is the declared name, `at_ms` the time that the broker keeps with it."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]


def scan(
    kafka: KafkaSettings,
    topic: AnyTopic,
    *,
    partitions: Iterable[int] | None = None,
    since_ms: int | None = None,
    limit_s: float = READ_LIMIT_S,
) -> Iterator[Found]:
    """What lies in the partitions (all by default) up to their present ends, each in its order.

    Raises TopicReadError when the topic is not there, or its end was not reached in time.
    """
    deadline = time.monotonic() + limit_s
    name = kafka.topic_prefix + topic.name
    consumer = _consumer(kafka)
    try:
        unread = _partitions(consumer, name, limit_s)
        if partitions is not None:
            unread &= set(partitions)
        consumer.assign(_places(consumer, name, unread, since_ms, limit_s))
        while unread:
            message = _next(consumer, name, deadline, limit_s)
            if (error := message.error()) is None:
                yield _found(topic, message)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name for it
                unread.discard(message.partition() or 0)
            else:
                raise TopicReadError(f"{name} cannot be read: {error.str()}")
    except KafkaException as error:
        raise TopicReadError(f"{name} cannot be read: {error.args[0].str()}; is the broker up?") from error
    finally:
        consumer.close()


def read_one(
    kafka: KafkaSettings, topic: AnyTopic, partition: int, offset: int, *, limit_s: float = READ_LIMIT_S
) -> Found | None:
    """The record at a place; None when nothing lies there. Raises TopicReadError."""
    deadline = time.monotonic() + limit_s
    name = kafka.topic_prefix + topic.name
    consumer = _consumer(kafka)
    try:
        if partition not in _partitions(consumer, name, limit_s):
            return None
        low, high = consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=limit_s)
        if not low <= offset < high:
            return None
        consumer.assign([TopicPartition(name, partition, offset)])
        message = _next(consumer, name, deadline, limit_s)
        if message.error() is not None or message.offset() != offset:
            return None
        return _found(topic, message)
    except KafkaException as error:
        raise TopicReadError(f"{name} cannot be read: {error.args[0].str()}; is the broker up?") from error
    finally:
        consumer.close()


def _consumer(kafka: KafkaSettings) -> Consumer:
    return Consumer(
        kafka.librdkafka()
        | {
            # A group's name is asked for and never used: partitions are assigned by hand and nothing is committed.
            "group.id": "freshtrack-scan",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
            "log_level": 2,
        }
    )


def _partitions(consumer: Consumer, name: str, limit_s: float) -> set[int]:
    known = consumer.list_topics(name, timeout=limit_s).topics[name]
    if known.error is not None or not known.partitions:
        raise TopicReadError(f"topic {name} does not exist; run `freshtrack topics create`")
    return set(known.partitions)


def _places(
    consumer: Consumer, name: str, partitions: Iterable[int], since_ms: int | None, limit_s: float
) -> list[TopicPartition]:
    if since_ms is None:
        return [TopicPartition(name, number, OFFSET_BEGINNING) for number in partitions]
    wanted = [TopicPartition(name, number, max(0, since_ms)) for number in partitions]
    return consumer.offsets_for_times(wanted, timeout=limit_s) if wanted else []


def _next(consumer: Consumer, name: str, deadline: float, limit_s: float) -> Message:
    while True:
        message = consumer.poll(POLL_S)
        if time.monotonic() < deadline and message is not None:
            return message
        if time.monotonic() >= deadline:
            raise TopicReadError(
                f"{name} could not be read to its end within {limit_s:g} s; narrow the time or raise the limit"
            )


def _found(topic: AnyTopic, message: Message) -> Found:
    key, value = message.key(), message.value()
    return Found(
        topic.name,
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        key.encode() if isinstance(key, str) else key,
        value.encode() if isinstance(value, str) else value,
        {name: content for name, content in dict(message.headers() or ()).items() if isinstance(content, bytes)},
    )
