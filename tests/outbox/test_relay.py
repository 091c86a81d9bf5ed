"""The relay on a real database and broker: in order, nothing lost, in effect nothing twice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from database.configuration import OrganizationRow, UnitRow
from database.queues import OutboxRow
from outbox import writer
from outbox.delivery import Waiting, _deletable
from outbox.republish import republish
from schemas import messages as m
from schemas.topics import ALERT_COMMANDS, UNITS
from tests.api.topic_records import records
from tests.outbox.relays import KEYS, emptied, order, relaying, times_by_key

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from broker.settings import KafkaSettings
    from tests.conftest import Eventually

pytestmark = [pytest.mark.anyio, pytest.mark.broker, pytest.mark.postgres]


async def test_rows_arrive_in_order_once_with_their_ids_and_leave_the_outbox(
    database: AsyncEngine, kafka_settings: KafkaSettings, eventually: Eventually
) -> None:
    await order(database, 0, 70)
    async with AsyncSession(database) as session:
        ids = set(await session.scalars(select(OutboxRow.message_id)))

    async with relaying(database, kafka_settings):
        await eventually.awaited(emptied(database))

    found = records(kafka_settings, ALERT_COMMANDS)
    assert {record.headers["id"] for record in found} == ids
    assert {record.headers["type"] for record in found} == {"acknowledge"}
    assert times_by_key(kafka_settings) == {key: list(range(number, 70, len(KEYS))) for number, key in enumerate(KEYS)}


async def test_a_commit_wakes_the_relay_at_once(
    database: AsyncEngine, kafka_settings: KafkaSettings, eventually: Eventually
) -> None:
    async with relaying(database, kafka_settings) as relay:
        await order(database, 0, 1)
        await eventually.awaited(lambda: relay.published == 1)
        begin = asyncio.get_running_loop().time()
        await order(database, 1, 1)
        await eventually.awaited(lambda: relay.published == 2)
        # Without the notification it would be the five seconds between two looks.
        assert asyncio.get_running_loop().time() - begin < 2


async def test_another_relay_stands_by_and_takes_over(
    database: AsyncEngine, kafka_settings: KafkaSettings, eventually: Eventually
) -> None:
    async with relaying(database, kafka_settings) as second, relaying(database, kafka_settings) as first:
        await order(database, 0, 10)
        await eventually.awaited(emptied(database))
        assert sorted([first.published, second.published]) == [0, 10]
        leader, other = (first, second) if first.published else (second, first)
        leader.stop()
        await order(database, 10, 10)
        await eventually.awaited(lambda: other.published == 10, within_s=5)


async def test_a_relay_whose_session_the_database_ended_begins_anew(
    database: AsyncEngine, kafka_settings: KafkaSettings, eventually: Eventually
) -> None:
    async with relaying(database, kafka_settings) as relay:
        await order(database, 0, 10)
        await eventually.awaited(lambda: relay.published == 10)
        async with database.begin() as connection:
            await connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'freshtrack relay' AND datname = current_database()"
                )
            )
        await order(database, 10, 10)
        await eventually.awaited(lambda: relay.published == 20)


async def test_a_compacted_topic_is_rebuilt_from_the_database(
    database: AsyncEngine, organization: str, kafka_settings: KafkaSettings, eventually: Eventually
) -> None:
    async with AsyncSession(database) as session, session.begin():
        for name in ("kept", "gone"):
            session.add(UnitRow(unit_id=name, organization_id=organization, name=name))
        await writer.publish_units(session, ["kept", "gone"])
    async with relaying(database, kafka_settings):
        await eventually.awaited(emptied(database))
        async with AsyncSession(database) as session, session.begin():
            # Somebody repaired the tables by hand, so Kafka was not told.
            await session.execute(delete(UnitRow).where(UnitRow.unit_id == "gone"))
            await session.execute(update(OrganizationRow).values(name="Acme Ltd"))

        done = await republish(database, kafka_settings)
        await eventually.awaited(emptied(database))

    assert [tuple(counts) for counts in done] == [
        ("organizations", 1, 0),
        ("units", 1, 1),
        ("contacts", 0, 0),
        ("digest-preferences", 0, 0),
    ]
    newest = {record.key: record.value for record in records(kafka_settings, UNITS)}
    assert newest["gone"] is None
    assert msgspec.json.decode(newest["kept"] or b"", type=m.UnitConfig).organization_name == "Acme Ltd"


def test_behind_a_failed_message_later_ones_of_its_key_are_sent_again() -> None:
    rows = [
        Waiting(sequence, "id", topic, key, "t", None, None)
        for sequence, (topic, key) in enumerate(
            [("units", "a"), ("units", "b"), ("units", "a"), ("contacts", "a"), ("units", "b")]
        )
    ]
    assert _deletable(rows, {0: "refused"}) == {1, 3, 4}
