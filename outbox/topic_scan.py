"""Reads the present content of a topic. Joins no group and commits nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from confluent_kafka import Message

    from broker.settings import KafkaSettings
    from schemas.topic import AnyTopic

READ_LIMIT_S = 60.0
POLL_S = 0.2


class TopicReadError(RuntimeError):
    """A topic could not be read; the message says which and what to do."""


def scan(
    kafka: KafkaSettings, topic: AnyTopic, *, limit_s: float = READ_LIMIT_S, since_ms: int | None = None
) -> Iterator[tuple[bytes | None, bytes | None]]:
    """Key and value of every record up to the present ends, in order within a partition; from `since_ms` on if given.

    Raises TopicReadError if the topic does not exist, or its end is not reached in time.
    """
    deadline = time.monotonic() + limit_s
    name = kafka.topic_prefix + topic.name
    consumer = _consumer(kafka)
    try:
        unread = _partitions(consumer, name, limit_s)
        consumer.assign(_starts(consumer, name, unread, since_ms, limit_s))
        while unread:
            message = _next(consumer, name, deadline, limit_s)
            if (error := message.error()) is None:
                yield _bytes(message.key()), _bytes(message.value())
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


def _starts(
    consumer: Consumer, name: str, partitions: set[int], since_ms: int | None, limit_s: float
) -> list[TopicPartition]:
    if since_ms is None:
        return [TopicPartition(name, number, OFFSET_BEGINNING) for number in partitions]
    # A partition without a record since then answers with its end.
    return consumer.offsets_for_times([TopicPartition(name, number, since_ms) for number in partitions], limit_s)


def _next(consumer: Consumer, name: str, deadline: float, limit_s: float) -> Message:
    while True:
        message = consumer.poll(POLL_S)
        if time.monotonic() < deadline and message is not None:
            return message
        if time.monotonic() >= deadline:
            raise TopicReadError(f"{name} could not be read to its end within {limit_s:g} s")


def _bytes(content: str | bytes | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content
