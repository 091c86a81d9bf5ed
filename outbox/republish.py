"""Fills the compacted configuration topics anew from the database, and clears out what the database no longer has."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from database.configuration import ContactRow, DigestPreferenceRow, UnitRow
from outbox import writer
from producers.errors import NotDeliveredError
from schemas.topics import CONTACTS, DIGEST_PREFERENCES, UNITS, AnyTopic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

    from sqlalchemy import Select
    from sqlalchemy.ext.asyncio import AsyncEngine

    from broker.settings import KafkaSettings

# One transaction each, so that writers of the same keys wait a moment only.
KEYS_A_TRANSACTION = 500
READ_LIMIT_S = 60.0


class Source(NamedTuple):
    """A compacted topic, the query for its keys, and what enqueues the newest state of given keys."""

    topic: AnyTopic
    stored: Select[str]
    publish: Callable[[AsyncSession, Collection[str]], Awaitable[None]]


SOURCES = (
    Source(UNITS, select(UnitRow.unit_id), writer.publish_units),
    Source(CONTACTS, select(ContactRow.user_id), writer.publish_contacts),
    Source(DIGEST_PREFERENCES, select(DigestPreferenceRow.user_id), writer.publish_digest_preferences),
)


class Republished(NamedTuple):
    """How many keys of a topic were enqueued: with their configuration, and as tombstones of what is gone."""

    topic: str
    entries: int
    tombstones: int


async def republish(engine: AsyncEngine, kafka: KafkaSettings) -> list[Republished]:
    """Enqueue every unit, contact and preference, and a tombstone for each key that only Kafka has; the relay sends.

    Raises NotDeliveredError when a topic cannot be read in time.
    """
    done = []
    for source in SOURCES:
        async with engine.connect() as connection:
            stored = set((await connection.execute(source.stored)).scalars())
        gone = await asyncio.to_thread(live_keys, kafka, source.topic) - stored
        for keys in itertools.chain(_batches(stored), _batches(gone)):
            async with AsyncSession(engine) as session, session.begin():
                await source.publish(session, keys)
        done.append(Republished(source.topic.name, len(stored), len(gone)))
    return done


def _batches(keys: Iterable[str]) -> Iterable[list[str]]:
    ordered = iter(sorted(keys))
    while batch := list(itertools.islice(ordered, KEYS_A_TRANSACTION)):
        yield batch


def live_keys(kafka: KafkaSettings, topic: AnyTopic, *, time_limit_s: float = READ_LIMIT_S) -> set[str]:
    """The keys whose newest record in a compacted topic is no tombstone; raises NotDeliveredError after the limit."""
    name = kafka.topic_prefix + topic.name
    consumer = Consumer(
        kafka.librdkafka()
        | {
            # A group's name is asked for and never used: partitions are assigned by hand and nothing is committed.
            "group.id": "freshtrack-republish",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    live: set[str] = set()
    deadline = time.monotonic() + time_limit_s
    try:
        known = consumer.list_topics(name, timeout=time_limit_s).topics[name].partitions
        unread = set(known)
        consumer.assign([TopicPartition(name, number, OFFSET_BEGINNING) for number in known])
        while unread:
            message = consumer.poll(0.2)
            if message is None:
                if time.monotonic() > deadline:
                    raise NotDeliveredError(f"{name} could not be read to its end within {time_limit_s:g} s")
            elif (error := message.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name for it
                    unread.discard(message.partition() or 0)
            elif (key := message.key()) is not None:
                text = key.decode(errors="replace") if isinstance(key, bytes) else key
                (live.add if message.value() is not None else live.discard)(text)
    finally:
        consumer.close()
    return live
