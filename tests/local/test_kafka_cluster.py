"""Three brokers: what two have is kept while one is away, and leaders move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from local.kafka_cluster import EmbeddedCluster

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Eventually

pytestmark = pytest.mark.broker


def leaders(admin: AdminClient) -> dict[int, int]:
    partitions = admin.list_topics("kept", timeout=10).topics["kept"].partitions
    return {number: found.leader for number, found in partitions.items()}


def test_with_a_broker_killed_writes_go_on_and_its_partitions_have_other_leaders(
    tmp_path: Path, eventually: Eventually
) -> None:
    with EmbeddedCluster(tmp_path) as cluster:
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
        admin.create_topics([NewTopic("kept", num_partitions=6, replication_factor=3)])["kept"].result(30)
        assert {len(p.isrs) for p in admin.list_topics("kept", timeout=10).topics["kept"].partitions.values()} == {3}
        gone = 1
        eventually(lambda: gone in leaders(admin).values(), within_s=20)

        cluster.brokers[gone - 1].kill()

        eventually(lambda: gone not in leaders(admin).values(), within_s=20, what="other leaders")
        failures: list[object] = []

        def look_at(error: object, _: object) -> None:
            failures.extend(filter(None, [error]))

        producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all"})
        for number in range(60):
            producer.produce("kept", b"x", partition=number % 6, on_delivery=look_at)
        assert (producer.flush(30), failures) == (0, [])

        cluster.brokers[gone - 1].start()

        def all_in_sync() -> bool:
            found = admin.list_topics("kept", timeout=10).topics["kept"].partitions.values()
            return all(len(partition.isrs) == 3 for partition in found)

        eventually(all_in_sync, within_s=30, what="three copies of each partition")
