"""Reads what a topic holds, from its start to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

if TYPE_CHECKING:
    from broker.settings import KafkaSettings
    from schemas.topic import AnyTopic


class Record(NamedTuple):
    key: str
    value: bytes | None
    headers: dict[str, str]


def records(settings: KafkaSettings, topic: AnyTopic) -> list[Record]:
    """All records, each partition in its order."""
    consumer = Consumer(
        settings.librdkafka() | {"group.id": "test", "enable.auto.commit": False, "enable.partition.eof": True}
    )
    name = settings.topic_prefix + topic.name
    found = []
    try:
        unread = set(consumer.list_topics(name, timeout=10).topics[name].partitions)
        consumer.assign([TopicPartition(name, number, OFFSET_BEGINNING) for number in unread])
        while unread:
            message = consumer.poll(10)
            assert message is not None, f"{name} does not end"
            if (error := message.error()) is not None:
                assert error.code() == KafkaError._PARTITION_EOF, error
                unread.discard(message.partition())
                continue
            headers = {
                name: value.decode()
                for name, value in dict(message.headers() or []).items()
                if isinstance(value, bytes)
            }
            found.append(Record((message.key() or b"").decode(), message.value(), headers))
    finally:
        consumer.close()
    return found
