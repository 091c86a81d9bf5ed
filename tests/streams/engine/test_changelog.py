"""Changelogs at the real broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from streams.engine.changelog import TOMBSTONES_MS, declare
from streams.engine.settings import WorkerSettings

if TYPE_CHECKING:
    from tests.conftest import Kafka

pytestmark = [pytest.mark.anyio, pytest.mark.broker]


def configured(bootstrap: str, topic: str, *settings: str) -> list[str | None]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    client = AdminClient({"bootstrap.servers": bootstrap})
    found = client.describe_configs([resource])[resource].result(10)
    return [found[setting].value for setting in settings]


async def test_a_new_changelog_keeps_deletions_for_a_week(kafka: Kafka) -> None:
    await declare(WorkerSettings(bootstrap_servers=kafka.bootstrap), "new-changelog", 2)
    assert configured(kafka.bootstrap, "new-changelog", "cleanup.policy", "delete.retention.ms") == [
        "compact",
        str(TOMBSTONES_MS),
    ]


@pytest.mark.parametrize(("before", "after"), [(86_400_000, TOMBSTONES_MS), (TOMBSTONES_MS + 1, TOMBSTONES_MS + 1)])
async def test_a_changelog_of_an_earlier_release_keeps_them_as_long_and_what_an_operator_set_stays(
    kafka: Kafka, before: int, after: int
) -> None:
    topic = f"changelog-{before}"
    config = {"cleanup.policy": "compact", "delete.retention.ms": str(before), "segment.ms": "600000"}
    client = AdminClient({"bootstrap.servers": kafka.bootstrap})
    client.create_topics([NewTopic(topic, 2, 1, config=config)])[topic].result(10)
    await declare(WorkerSettings(bootstrap_servers=kafka.bootstrap), topic, 2)
    assert configured(kafka.bootstrap, topic, "delete.retention.ms", "segment.ms") == [str(after), "600000"]
