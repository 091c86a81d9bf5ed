"""Reads the present content of a topic, whole or from a time on. Joins no group and commits nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from aiokafka.partitioner import murmur2
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
    """A record; `at_ms` is the broker's time of it."""

    at_ms: int
    key: bytes | None
    value: bytes | None


def scan(
    kafka: KafkaSettings,
    topic: AnyTopic,
    *,
    key: str | None = None,
    since_ms: int | None = None,
    limit_s: float = READ_LIMIT_S,
) -> Iterator[Found]:
    """Every record up to the present ends, in order within a partition; with `key` only those of its partition.

    Raises TopicReadError if the topic does not exist, or its end is not reached in time.
    """
    deadline = time.monotonic() + limit_s
    name = kafka.topic_prefix + topic.name
    consumer = _consumer(kafka)
    try:
        unread = _partitions(consumer, name, limit_s)
        if key is not None:
            # Where every producer of ours puts the key.
            unread = {int(murmur2(key.encode()) & 0x7FFF_FFFF) % len(unread)}
        consumer.assign(_places(consumer, name, unread, since_ms, limit_s))
        while unread:
            message = _next(consumer, name, deadline, limit_s)
            if (error := message.error()) is None:
                yield _found(message)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name for it
                unread.discard(message.partition() or 0)
            else:
                raise TopicReadError(f"{name} cannot be read: {error.str()}")
    except KafkaException as error:
        raise TopicReadError(f"{name} cannot be read: {error.args[0].str()}; is the broker up?") from error
    finally:
        consumer.close()


def _consumer(kafka: KafkaSettings) -> Consumer:
    return Consumer(
        kafka.librdkafka()
        | {
            # Required, but unused: partitions are assigned by hand and nothing is committed.
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


def _found(message: Message) -> Found:
    key, value = message.key(), message.value()
    return Found(
        message.timestamp()[1],
        key.encode() if isinstance(key, str) else key,
        value.encode() if isinstance(value, str) else value,
    )
