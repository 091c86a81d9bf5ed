"""What was deleted leaves Kafka's compacted topics too, although nobody writes to them any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiokafka.partitioner import murmur2
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from sqlalchemy.ext.asyncio import AsyncSession

from database.configuration import ContactRow
from outbox.compaction import KEYS, close_segments
from outbox.erasure import erase_person
from outbox.topic_scan import scan
from outbox.writer import publish_contacts
from schemas.topics import CONTACTS
from tests.outbox.relays import emptied, relaying
from tests.outbox.test_erasure import NOW

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from broker.settings import KafkaSettings
    from tests.conftest import Eventually

NUMBER = "+12025550147"


@pytest.mark.parametrize("partitions", range(1, 25))
def test_every_partition_gets_a_record_that_closes_its_segment(partitions: int) -> None:
    assert {(murmur2(key.encode()) & 0x7FFFFFFF) % partitions for key in KEYS} == set(range(partitions))


def lag_of_a_moment(kafka: KafkaSettings) -> None:
    """The topic's own settings, in seconds where they are days; the least that Kafka takes for a segment is 1 MiB."""
    topic = ConfigResource(ResourceType.TOPIC, kafka.topic(CONTACTS.name))
    for name, value in (("min.compaction.lag.ms", "0"), ("max.compaction.lag.ms", "1000")):
        topic.add_incremental_config(ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET))
    admin = AdminClient(kafka.librdkafka())
    for future in admin.incremental_alter_configs([topic]).values():
        future.result(30)


def values(kafka: KafkaSettings) -> bytes:
    return b" ".join(value or b"" for _, value in scan(kafka, CONTACTS))


@pytest.mark.anyio
@pytest.mark.broker
@pytest.mark.postgres
async def test_an_erased_number_is_compacted_away(
    database: AsyncEngine, organization: str, kafka_settings: KafkaSettings, eventually: Eventually
) -> None:
    lag_of_a_moment(kafka_settings)
    async with relaying(database, kafka_settings):
        async with AsyncSession(database) as session, session.begin():
            session.add(ContactRow(user_id="u7", organization_id=organization, name="Zoe Quill", phone_e164=NUMBER))
            await session.flush()
            await publish_contacts(session, ["u7"])
        await eventually.awaited(emptied(database))
        assert NUMBER.encode() in values(kafka_settings)

        async with AsyncSession(database) as session, session.begin():
            assert await erase_person(session, organization, "u7", by="key:1", now=NOW) is not None

        async def gone() -> bool:
            # What the relay does daily; the broker's cleaner looks every 15 s.
            await close_segments(database)
            await eventually.awaited(emptied(database))
            left = values(kafka_settings)
            return NUMBER.encode() not in left and b"Quill" not in left

        await eventually.awaited(gone, within_s=90, every_s=2, what="the number to be compacted away")
