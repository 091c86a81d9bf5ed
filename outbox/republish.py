"""Rewrites the compacted configuration topics from the database, and deletes what the database no longer has."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from database.configuration import ContactRow, DigestPreferenceRow, OrganizationRow, UnitRow
from outbox import writer
from outbox.topic_scan import scan
from schemas.topics import CONTACTS, DIGEST_PREFERENCES, ORGANIZATIONS, UNITS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

    from sqlalchemy import Select
    from sqlalchemy.ext.asyncio import AsyncEngine

    from broker.settings import KafkaSettings
    from schemas.topic import AnyTopic

# Keys in one transaction: few, so that other writers of these keys wait only briefly.
KEYS_A_TRANSACTION = 500


class Source(NamedTuple):
    """A compacted topic, the query for its keys, and the function that enqueues the newest state of keys."""

    topic: AnyTopic
    stored: Select[str]
    publish: Callable[[AsyncSession, Collection[str]], Awaitable[None]]


SOURCES = (
    Source(ORGANIZATIONS, select(OrganizationRow.organization_id), writer.publish_organizations),
    Source(UNITS, select(UnitRow.unit_id), writer.publish_units),
    Source(CONTACTS, select(ContactRow.user_id), writer.publish_contacts),
    Source(DIGEST_PREFERENCES, select(DigestPreferenceRow.user_id), writer.publish_digest_preferences),
)


class Republished(NamedTuple):
    """How many keys of a topic were enqueued with their configuration, and how many as tombstones."""

    topic: str
    entries: int
    tombstones: int


async def republish(engine: AsyncEngine, kafka: KafkaSettings) -> list[Republished]:
    """Enqueue everything that people configured, and a tombstone for each key that only Kafka has; the relay sends.

    Raises TopicReadError.
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


def live_keys(kafka: KafkaSettings, topic: AnyTopic) -> set[str]:
    """The keys whose newest record in a compacted topic is no tombstone. Raises TopicReadError."""
    live: set[str] = set()
    for key, value in scan(kafka, topic):
        if key is not None:
            (live.discard if value is None else live.add)(key.decode(errors="replace"))
    return live
