"""When topics may grow, at a real broker; `tests/faults/test_growth.py` has what becomes of state."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from broker.growth.errors import GrowthError
from broker.growth.grow import grow
from broker.growth.layout import Layout
from broker.partition_counts import GROWING, TopicError, check_partitions

if TYPE_CHECKING:
    from tests.conftest import Kafka

pytestmark = pytest.mark.broker

TOPIC, GROUP = "outcomes", "recorder"
LAYOUT = Layout((), drained={GROUP: (TOPIC,)})


class World:
    """A topic with one record in a transaction, whose marker is its last offset."""

    def __init__(self, bootstrap: str) -> None:
        self.prefix = f"w{uuid.uuid4().hex[:8]}."
        self.settings: dict[str, str | int | float | bool] = {"bootstrap.servers": bootstrap}
        self.admin = AdminClient(self.settings)
        self.topic = self.prefix + TOPIC
        self.admin.create_topics([NewTopic(self.topic, 1, 1)])[self.topic].result(30)
        producer = Producer({**self.settings, "transactional.id": self.prefix})
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.produce(self.topic, b"1", b"k")
        producer.commit_transaction(30)

    def commit(self, offset: int) -> None:
        reader = Consumer({**self.settings, "group.id": self.prefix + GROUP, "enable.auto.commit": False})
        reader.commit(offsets=[TopicPartition(self.topic, 0, offset)], asynchronous=False)
        reader.close()

    def grow(self, partitions: int) -> list[str]:
        told: list[str] = []
        grow(self.settings, LAYOUT, partitions, prefix=self.prefix, tell=told.append)
        return told

    def partitions(self) -> int:
        return len(self.admin.list_topics(self.topic, timeout=10).topics[self.topic].partitions)


@pytest.fixture
def world(kafka: Kafka) -> World:
    return World(kafka.bootstrap)


def test_what_the_recorder_has_not_read_keeps_a_topic_from_growing(world: World) -> None:
    world.commit(0)
    with pytest.raises(GrowthError, match=f"worker recorder has not read all of {world.topic}: run that worker alone"):
        world.grow(3)
    assert world.partitions() == 1
    check_partitions(world.settings, [], prefix=world.prefix)


def test_the_marker_of_a_transaction_behind_the_last_record_is_nothing_to_read(world: World) -> None:
    world.commit(1)
    assert world.grow(3)[-1] == "done: 3 partitions"
    assert world.partitions() == 3
    assert world.grow(2) == ["everything has 2 partitions or more"]


def test_an_unfinished_growth_keeps_workers_from_starting(world: World) -> None:
    name = world.prefix + GROWING
    world.admin.create_topics([NewTopic(name, 1, 1)])[name].result(30)
    with pytest.raises(TopicError, match="`freshtrack topics grow` did not reach its end"):
        check_partitions(world.settings, [], prefix=world.prefix)
    world.commit(1)
    assert world.grow(2)[-1] == "done: 2 partitions"
    check_partitions(world.settings, [], prefix=world.prefix)
