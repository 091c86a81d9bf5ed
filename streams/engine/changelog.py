"""The changelog of a table: its topic, and its records, sent a batch at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code
from confluent_kafka import KafkaException
from confluent_kafka import admin as librdkafka

if TYPE_CHECKING:
    from streams.engine.settings import WorkerSettings

log = structlog.get_logger(__name__)

DELETE_RETENTION = "delete.retention.ms"
HOUR_MS = 3_600_000
TOMBSTONES_MS = 7 * 24 * HOUR_MS
"""How long a changelog keeps deletions: a local store that missed more than that would show deleted keys again."""

DECLARE_LIMIT_S = 30.0


class ChangelogError(RuntimeError):
    """A changelog cannot be used as it is; the message says what to do."""


async def declare(settings: WorkerSettings, topic: str, partitions: int) -> None:
    """Make the changelog topic, unless it is there; refuse one with another number of partitions.

    The last hour stays uncompacted: a worker that was frozen may publish an old value after its successor's newer one.
    Compaction would keep only the late one; recovery must see both to choose by applied offset.
    """
    configuration = {
        "cleanup.policy": "compact",
        "min.compaction.lag.ms": str(HOUR_MS),
        DELETE_RETENTION: str(TOMBSTONES_MS),
    }
    wanted = NewTopic(topic, partitions, settings.replication_factor, topic_configs=configuration)
    async with asyncio.timeout(DECLARE_LIMIT_S):
        admin = AIOKafkaAdminClient(**settings.aiokafka())
        await admin.start()
        try:
            response = await admin.create_topics([wanted])
            for _, code, reason in response.topic_errors:
                if code not in {0, TopicAlreadyExistsError.errno}:
                    raise ChangelogError(f"changelog {topic} cannot be created: {for_code(code).__name__}, {reason}")
            found = await _partitions_of(admin, topic)
            kept_ms = await _delete_retention_ms(admin, topic)
        finally:
            await admin.close()
    if found != partitions:
        raise ChangelogError(
            f"changelog {topic} has {found} partitions, the table needs {partitions}: the keys of its state would be"
            " looked for in other partitions; use the former number, or delete the topic and read the source again"
        )
    if kept_ms < TOMBSTONES_MS:
        await asyncio.to_thread(_raise_delete_retention, settings, topic)
        log.info("changelog.altered", topic=topic, setting=DELETE_RETENTION, before=kept_ms, now=TOMBSTONES_MS)


async def _partitions_of(admin: AIOKafkaAdminClient, topic: str) -> int:
    while True:
        (description,) = await admin.describe_topics([topic])
        if description["error_code"] == 0:
            return len(description["partitions"])
        await asyncio.sleep(0.05)


async def _delete_retention_ms(admin: AIOKafkaAdminClient, topic: str) -> int:
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    return int({entry[0]: entry[1] for *_, entries in answer.resources for entry in entries}[DELETE_RETENTION])


def _raise_delete_retention(settings: WorkerSettings, topic: str) -> None:
    """With librdkafka: aiokafka's request would reset every setting that an operator added."""
    client = librdkafka.AdminClient(settings.librdkafka())
    entry = librdkafka.ConfigEntry(
        DELETE_RETENTION, str(TOMBSTONES_MS), incremental_operation=librdkafka.AlterConfigOpType.SET
    )
    resource = librdkafka.ConfigResource(librdkafka.ResourceType.TOPIC, topic, incremental_configs=[entry])
    try:
        for future in client.incremental_alter_configs([resource]).values():
            future.result(DECLARE_LIMIT_S)
    except KafkaException as error:
        raise ChangelogError(
            f"{DELETE_RETENTION} of changelog {topic} is below {TOMBSTONES_MS} and cannot be raised: {error}; raise it"
            " by hand, or let this worker alter its topics"
        ) from error
