"""The transactional outbox: a change and the message about it are committed together.

The caller changes rows, then names the changed keys here. The newest state is read back and enqueued under a lock on
the message's key, so that messages of one key lie in the outbox in the order in which their transactions commit.
A missing row becomes a tombstone: a deletion needs no call of its own.
"""

from __future__ import annotations

import uuid
import zlib
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, insert, select, text

from database.queues import OutboxRow
from outbox.configuration import contacts, digest_preferences, organizations, unit_configs
from schemas import messages as m
from schemas.headers import new_traceparent, type_name
from schemas.topics import (
    ALERT_COMMANDS,
    CONTACTS,
    DEAD_LETTER_SETTLEMENTS,
    DIGEST_PREFERENCES,
    DIGEST_RUNS,
    ORGANIZATIONS,
    REDRIVE_TOPICS,
    UNITS,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    import msgspec
    from sqlalchemy.ext.asyncio import AsyncSession

    from schemas.topic import AnyTopic

    _Read = Callable[[AsyncSession, Collection[str]], Awaitable[Mapping[str, msgspec.Struct]]]

CHANNEL = "freshtrack_outbox"
OUTBOX_TOPICS = (
    ORGANIZATIONS,
    UNITS,
    CONTACTS,
    DIGEST_PREFERENCES,
    ALERT_COMMANDS,
    DIGEST_RUNS,
    *REDRIVE_TOPICS,
    DEAD_LETTER_SETTLEMENTS,
)
TOMBSTONE = "tombstone"
# Keys share this many locks: enough that writers rarely collide, few enough for a change of 10,000 units at once.
LOCK_SLOTS = 256
# The relay could never send a message that the broker refuses; key, headers and framing count too.
FRAMING_BYTES = 4_096


class MessageTooLargeError(ValueError):
    """A configuration is larger than its topic allows; the transaction must not commit."""


async def publish_units(session: AsyncSession, unit_ids: Collection[str]) -> None:
    """Enqueue the present configuration of each unit, or a tombstone where there is no such unit."""
    await _publish_state(session, UNITS, unit_ids, unit_configs)


async def publish_contacts(session: AsyncSession, user_ids: Collection[str]) -> None:
    """Enqueue each contact as it is now, or a tombstone."""
    await _publish_state(session, CONTACTS, user_ids, contacts)


async def publish_digest_preferences(session: AsyncSession, user_ids: Collection[str]) -> None:
    """Enqueue each user's digest preference as it is now, or a tombstone."""
    await _publish_state(session, DIGEST_PREFERENCES, user_ids, digest_preferences)


async def publish_organizations(session: AsyncSession, organization_ids: Collection[str]) -> None:
    """Enqueue each organization as it is now, or a tombstone."""
    await _publish_state(session, ORGANIZATIONS, organization_ids, organizations)


async def publish_command(session: AsyncSession, command: m.Command) -> None:
    """Enqueue a person's command about an alert, under its unit's key."""
    await lock_keys(session, ALERT_COMMANDS, [command.unit_id])
    await _publish(session, ALERT_COMMANDS, [command.unit_id], {command.unit_id: command})


async def publish_digest_command(session: AsyncSession, command: m.SendDigestNow) -> None:
    """Enqueue a person's request for a digest, under the key of the user who gets it."""
    await lock_keys(session, DIGEST_RUNS, [command.user_id])
    await _publish(session, DIGEST_RUNS, [command.user_id], {command.user_id: command})


async def publish_tombstones(session: AsyncSession, topic: AnyTopic, keys: Collection[str]) -> None:
    """Enqueue a tombstone for each key, whatever the database has."""
    await lock_keys(session, topic, keys)
    await _publish(session, topic, keys, {})


class QueuedRecord(NamedTuple):
    """A complete record for Kafka; the same input gives the same `message_id`."""

    topic: AnyTopic
    key: str
    value: bytes
    message_type: str
    message_id: str
    headers: dict[str, str]


async def publish_records(session: AsyncSession, records: Collection[QueuedRecord]) -> None:
    """Enqueue complete records, such as redrives; the relay may send them in any order."""
    if not records:
        return
    rows = [
        {
            "message_id": record.message_id,
            "topic": record.topic.name,
            "key": record.key,
            "type": record.message_type,
            "value": record.value,
            "traceparent": new_traceparent(),
            "headers": record.headers,
        }
        for record in records
    ]
    await session.execute(insert(OutboxRow), rows)
    await session.execute(select(func.pg_notify(CHANNEL, rows[0]["topic"])))


async def lock_keys(session: AsyncSession, topic: AnyTopic, keys: Collection[str]) -> None:
    """Make writers of these keys wait for each other until the transaction ends. Locks are taken in one order."""
    slots = sorted({zlib.crc32(key.encode()) % LOCK_SLOTS for key in keys})
    number = zlib.crc32(topic.name.encode()) & 0x7FFF_FFFF
    await session.execute(
        text("SELECT pg_advisory_xact_lock(:topic, slot) FROM unnest(CAST(:slots AS integer[])) AS slot"),
        {"topic": number, "slots": slots},
    )


async def _publish_state(session: AsyncSession, topic: AnyTopic, keys: Collection[str], read: _Read) -> None:
    await session.flush()
    await lock_keys(session, topic, keys)
    await _publish(session, topic, keys, await read(session, keys))


async def _publish(
    session: AsyncSession, topic: AnyTopic, keys: Collection[str], messages: Mapping[str, msgspec.Struct]
) -> None:
    if not keys:
        return
    await session.execute(insert(OutboxRow), [_row(topic, key, messages.get(key)) for key in sorted(set(keys))])
    # PostgreSQL notifies the relay when this transaction commits, and only then.
    await session.execute(select(func.pg_notify(CHANNEL, topic.name)))


def _row(topic: AnyTopic, key: str, message: msgspec.Struct | None) -> dict[str, str | bytes | None]:
    value = None if message is None else m.encode(message)
    if value is not None and len(value) + len(key) > topic.max_message_bytes - FRAMING_BYTES:
        raise MessageTooLargeError(
            f"{topic.name} {key} takes {len(value)} bytes, the topic takes {topic.max_message_bytes - FRAMING_BYTES};"
            " keep fewer rules or maintenance windows"
        )
    return {
        "message_id": str(uuid.uuid4()),
        "topic": topic.name,
        "key": key,
        "type": TOMBSTONE if message is None else type_name(type(message)),
        "value": value,
        "traceparent": new_traceparent(),
    }
