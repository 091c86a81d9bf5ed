"""The changelog of a table: its topic, and its records, sent a batch at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from streams.engine.batch_writer import BatchWriter, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import faust

    from streams.engine.group_member import GroupMember
    from streams.engine.settings import WorkerSettings

HOUR_MS = 3_600_000
DECLARE_LIMIT_S = 30.0


class ChangelogError(RuntimeError):
    """A changelog cannot be used as it is; the message says what to do."""


async def declare(settings: WorkerSettings, topic: str, partitions: int) -> None:
    """Make the changelog topic, unless it is there; refuse one with another number of partitions.

    The last hour stays uncompacted: a worker that was frozen may publish an old value after its successor's newer one.
    Compaction would keep only the late one; recovery must see both to choose by applied offset.
    """
    configuration = {"cleanup.policy": "compact", "min.compaction.lag.ms": str(HOUR_MS)}
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
        finally:
            await admin.close()
    if found != partitions:
        raise ChangelogError(
            f"changelog {topic} has {found} partitions, the table needs {partitions}: the keys of its state would be"
            " looked for in other partitions; use the former number, or delete the topic and read the source again"
        )


async def _partitions_of(admin: AIOKafkaAdminClient, topic: str) -> int:
    while True:
        (description,) = await admin.describe_topics([topic])
        if description["error_code"] == 0:
            return len(description["partitions"])
        await asyncio.sleep(0.05)


class ChangelogWriter:
    """Sends records to one partition; `acknowledged(partition, first offset, count)` is called for what arrived."""

    def __init__(
        self, app: faust.App, topic: str, partition: int, acknowledged: Callable[[int, int, int], None]
    ) -> None:
        self._writer = BatchWriter(app, topic, partition)
        self._member: GroupMember = app.consumer.member
        self._partition = partition
        self._acknowledged = acknowledged
        self._epoch = self._member.epoch

    def filled(self, items: Mapping[bytes, bytes | None]) -> list[Any]:
        """Batches with one record a key. Raises RecordTooLargeError before anything has changed."""
        return self._writer.filled(Row(key, value) for key, value in items.items())

    async def send(self, batches: Iterable[Any]) -> list[asyncio.Future[Any]]:
        """Queue the batches, in order; the futures are tracked, so that no commit overtakes them."""
        return [await self._send(batch) for batch in batches]

    async def _send(self, batch: Any) -> asyncio.Future[Any]:  # noqa: ANN401 - aiokafka ships no types
        count = batch.record_count()
        member = self._member
        future: asyncio.Future[Any] = await member.sends.within_limit(self._writer.send(batch))
        member.sends.track(future)

        def done(future: asyncio.Future[Any]) -> None:
            # After a rebalance the store may be closed; what it lacks then is the next recovery's to read.
            if member.epoch == self._epoch and not future.cancelled() and future.exception() is None:
                self._acknowledged(self._partition, future.result().offset, count)

        future.add_done_callback(done)
        return future
