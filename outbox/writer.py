"""The transactional outbox: what a transaction changes and the message that tells of it are committed together.

A writer changes its rows, then names here what changed. The newest state is read back and enqueued under a lock on
the message's key, so that messages of one key stand in the outbox in the order in which their transactions commit.
A row that is gone becomes a tombstone: deleting needs no call of its own.
"""

from __future__ import annotations

import uuid
import zlib
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, insert, select, text

from database.configuration import (
    ContactRow,
    DigestPreferenceRow,
    EscalationStepRow,
    MaintenanceWindowRow,
    OptOutRow,
    OrganizationRow,
    RuleRow,
    UnitRow,
)
from database.declarative import to_ms
from database.queues import OutboxRow
from schemas import messages as m
from schemas.headers import new_traceparent, type_name
from schemas.topics import (
    ALERT_COMMANDS,
    CONTACTS,
    DEAD_LETTER_SETTLEMENTS,
    DIGEST_PREFERENCES,
    DIGEST_RUNS,
    REDRIVE_TOPICS,
    UNITS,
    AnyTopic,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    import msgspec
    from sqlalchemy.ext.asyncio import AsyncSession

    _Read = Callable[[AsyncSession, Collection[str]], Awaitable[Mapping[str, msgspec.Struct]]]

CHANNEL = "freshtrack_outbox"
OUTBOX_TOPICS = (
    UNITS,
    CONTACTS,
    DIGEST_PREFERENCES,
    ALERT_COMMANDS,
    DIGEST_RUNS,
    *REDRIVE_TOPICS,
    DEAD_LETTER_SETTLEMENTS,
)
TOMBSTONE = "tombstone"
# Keys share this many locks: enough that writers rarely meet, few enough for a change of 10,000 units at once.
LOCK_SLOTS = 256
# The relay could never get rid of a message that the broker refuses; key, headers and framing count too.
FRAMING_BYTES = 4_096


class MessageTooLargeError(ValueError):
    """A configuration has grown beyond what its topic takes; the transaction must not commit."""


async def publish_units(session: AsyncSession, unit_ids: Collection[str]) -> None:
    """Enqueue the present configuration of each unit, or a tombstone where there is no such unit."""
    await _publish(session, UNITS, unit_ids, await _locked(session, UNITS, unit_ids, unit_configs))


async def publish_contacts(session: AsyncSession, user_ids: Collection[str]) -> None:
    """Enqueue each contact as it is now, or a tombstone."""
    await _publish(session, CONTACTS, user_ids, await _locked(session, CONTACTS, user_ids, contacts))


async def publish_digest_preferences(session: AsyncSession, user_ids: Collection[str]) -> None:
    """Enqueue each user's digest preference as it is now, or a tombstone."""
    await _publish(
        session,
        DIGEST_PREFERENCES,
        user_ids,
        await _locked(session, DIGEST_PREFERENCES, user_ids, digest_preferences),
    )


async def publish_command(session: AsyncSession, command: m.Command) -> None:
    """Enqueue a person's order about an alert, under its unit's key."""
    await lock_keys(session, ALERT_COMMANDS, [command.unit_id])
    await _publish(session, ALERT_COMMANDS, [command.unit_id], {command.unit_id: command})


async def publish_digest_order(session: AsyncSession, order: m.SendDigestNow) -> None:
    """Enqueue a person's wish for a summary, under the key of the user who gets it."""
    await lock_keys(session, DIGEST_RUNS, [order.user_id])
    await _publish(session, DIGEST_RUNS, [order.user_id], {order.user_id: order})


class Prepared(NamedTuple):
    """A record as it shall lie in Kafka; its id is the same whenever it is prepared again."""

    topic: AnyTopic
    key: str
    value: bytes
    message_type: str
    message_id: str
    headers: dict[str, str]


async def publish_prepared(session: AsyncSession, records: Collection[Prepared]) -> None:
    """Enqueue records that do not tell of rows: what a person sends again. Their order does not matter."""
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
    """Make writers of these keys wait for each other until the transaction ends; always taken in the same order."""
    slots = sorted({zlib.crc32(key.encode()) % LOCK_SLOTS for key in keys})
    number = zlib.crc32(topic.name.encode()) & 0x7FFF_FFFF
    await session.execute(
        text("SELECT pg_advisory_xact_lock(:topic, slot) FROM unnest(CAST(:slots AS integer[])) AS slot"),
        {"topic": number, "slots": slots},
    )


async def _locked(
    session: AsyncSession, topic: AnyTopic, keys: Collection[str], read: _Read
) -> Mapping[str, msgspec.Struct]:
    await session.flush()
    await lock_keys(session, topic, keys)
    return await read(session, keys)


async def _publish(
    session: AsyncSession, topic: AnyTopic, keys: Collection[str], messages: Mapping[str, msgspec.Struct]
) -> None:
    if not keys:
        return
    await session.execute(insert(OutboxRow), [_row(topic, key, messages.get(key)) for key in sorted(set(keys))])
    # PostgreSQL tells the relay when this transaction commits, and only then.
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


async def unit_configs(session: AsyncSession, unit_ids: Collection[str]) -> dict[str, m.UnitConfig]:
    """Units as workers see them: with their organization's name, rules, and maintenance that is not over for a day."""
    wanted = list(unit_ids)
    rules: defaultdict[str, list[m.Rule]] = defaultdict(list)
    rows = await session.execute(
        select(RuleRow.__table__).where(RuleRow.unit_id.in_(wanted)).order_by(RuleRow.unit_id, RuleRow.rule_id)
    )
    for rule in rows:
        rules[rule.unit_id].append(
            m.Rule(
                rule_id=rule.rule_id,
                limit=m.Limit(rule.limit_side),
                severity=m.Severity(rule.severity),
                limit_c=rule.limit_c,
                clear_c=rule.clear_c,
                confirm_s=rule.confirm_s,
                recover_readings=rule.recover_readings,
            )
        )
    windows: defaultdict[str, list[m.MaintenanceWindow]] = defaultdict(list)
    rows = await session.execute(
        select(MaintenanceWindowRow.__table__)
        .where(MaintenanceWindowRow.unit_id.in_(wanted))
        .where(MaintenanceWindowRow.ends_at > func.now() - text("interval '1 day'"))
        .order_by(MaintenanceWindowRow.starts_at, MaintenanceWindowRow.window_id)
    )
    for window in rows:
        windows[window.unit_id].append(m.MaintenanceWindow(to_ms(window.starts_at), to_ms(window.ends_at)))
    rows = await session.execute(
        select(UnitRow.__table__, OrganizationRow.name.label("organization_name"), OrganizationRow.display_unit)
        .join(OrganizationRow, OrganizationRow.organization_id == UnitRow.organization_id)
        .where(UnitRow.unit_id.in_(wanted))
    )
    return {
        unit.unit_id: m.UnitConfig(
            unit_id=unit.unit_id,
            organization_id=unit.organization_id,
            organization_name=unit.organization_name,
            name=unit.name,
            display_unit=unit.display_unit,
            gateway_id=unit.gateway_id,
            rules=tuple(rules[unit.unit_id]),
            expected_interval_s=unit.expected_interval_s,
            offline_after_missed=unit.offline_after_missed,
            live_window_s=unit.live_window_s,
            maintenance=tuple(windows[unit.unit_id]),
        )
        for unit in rows
    }


async def contacts(session: AsyncSession, user_ids: Collection[str]) -> dict[str, m.Contact]:
    """Contacts as workers see them: with level in the chain, opt-out of the number, the organization's cap of SMS."""
    rows = await session.execute(
        select(
            ContactRow.__table__,
            func.coalesce(EscalationStepRow.level, 1).label("level"),
            OptOutRow.phone_e164.is_not(None).label("opted_out"),
            OrganizationRow.sms_per_hour,
        )
        .join(OrganizationRow, OrganizationRow.organization_id == ContactRow.organization_id)
        .outerjoin(EscalationStepRow, EscalationStepRow.user_id == ContactRow.user_id)
        .outerjoin(OptOutRow, OptOutRow.phone_e164 == ContactRow.phone_e164)
        .where(ContactRow.user_id.in_(list(user_ids)))
    )
    return {
        contact.user_id: m.Contact(
            user_id=contact.user_id,
            organization_id=contact.organization_id,
            name=contact.name,
            phone_e164=contact.phone_e164,
            email=contact.email,
            minimum_severity=m.Severity(contact.minimum_severity),
            on_duty=contact.on_duty,
            escalation_level=contact.level,
            sms_opted_out=contact.opted_out,
            organization_sms_per_hour=contact.sms_per_hour,
        )
        for contact in rows
    }


async def digest_preferences(session: AsyncSession, user_ids: Collection[str]) -> dict[str, m.DigestPreference]:
    """Preferences as the digests worker sees them."""
    rows = await session.execute(
        select(DigestPreferenceRow.__table__).where(DigestPreferenceRow.user_id.in_(list(user_ids)))
    )
    return {
        preference.user_id: m.DigestPreference(
            user_id=preference.user_id,
            organization_id=preference.organization_id,
            cadences=tuple(m.Cadence(cadence) for cadence in preference.cadences),
            timezone=preference.timezone,
            hour=preference.hour,
            display_unit=preference.display_unit,
            paused=preference.paused,
        )
        for preference in rows
    }
