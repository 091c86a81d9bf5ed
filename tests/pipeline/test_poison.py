"""Poison in every declared topic at once: each worker starts, reads to the end of all that it consumes, and lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.topics import TOPICS
from streams.apps import NAMES
from tests.pipeline.digest_world import environment
from tests.pipeline.sms_traffic import Traffic
from tests.poison import records

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from local.mailbox.client import MailboxProcess
    from local.telnyx.client import TelnyxProcess
    from tests.conftest import Eventually
    from tests.pipeline.conftest import Space, Worker

pytestmark = [pytest.mark.anyio, pytest.mark.broker, pytest.mark.postgres]


def spread_poison(space: Space) -> None:
    producer = Producer({"bootstrap.servers": space.bootstrap, "message.max.bytes": 4_000_000})
    for topic in TOPICS:
        for key, value, headers in records(topic):
            if topic.compacted and key is None:
                continue  # the broker refuses it
            producer.produce(space.topic(topic.name), key=key, value=value, headers=[*headers])
            producer.poll(0)
    assert producer.flush(60) == 0


class Group:
    """What a worker's consumer group has of its topics."""

    def __init__(self, space: Space, name: str) -> None:
        self._space = space
        self._name = space.prefix + name
        self._admin = AdminClient({"bootstrap.servers": space.bootstrap})
        self._consumer = Consumer({"bootstrap.servers": space.bootstrap, "group.id": "ends"})

    def consumed(self) -> list[TopicPartition]:
        """The partitions of declared topics that its member has; changelogs are no concern here."""
        declared = {self._space.topic(topic.name) for topic in TOPICS}
        found = self._admin.describe_consumer_groups([self._name])[self._name].result(10)
        assigned = [tp for member in found.members for tp in member.assignment.topic_partitions]
        return [TopicPartition(tp.topic, tp.partition) for tp in assigned if tp.topic in declared]

    def behind(self) -> dict[str, int]:
        """By topic, how many records are not committed; empty when everything is."""
        try:
            consumed = self.consumed()
            if not consumed:
                return {"nothing is assigned": 1}
            asked = [ConsumerGroupTopicPartitions(self._name, consumed)]
            found = self._admin.list_consumer_group_offsets(asked)[self._name].result(10)
        except KafkaException as error:
            return {f"the group is not there yet: {error}": 1}
        behind: dict[str, int] = {}
        for tp in found.topic_partitions:
            end = self._consumer.get_watermark_offsets(TopicPartition(tp.topic, tp.partition), timeout=10)[1]
            if end > max(tp.offset, 0):
                behind[tp.topic] = behind.get(tp.topic, 0) + end - max(tp.offset, 0)
        return behind


@pytest.mark.parametrize("name", NAMES)
async def test_no_poison_stops_a_worker(
    name: str,
    space: Space,
    start_worker: Callable[..., Worker],
    database: AsyncEngine,
    mailbox: MailboxProcess,
    telnyx: TelnyxProcess,
    eventually: Eventually,
) -> None:
    spread_poison(space)
    settings = environment(mailbox, database) | Traffic(space, telnyx).provider
    worker = start_worker(name, **settings, STORE="memory", DIGEST_WAIT_S="1")
    group = Group(space, name)
    eventually(lambda: not worker.running() or group.behind() == {}, within_s=90, every_s=0.5, what=worker.log.name)
    log = worker.log.read_text()
    assert worker.running(), log[-3_000:]
    assert "record.quarantined" not in log
    assert group.consumed()
