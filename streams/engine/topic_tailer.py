"""Reading topics with a consumer of one's own that belongs to no group: complete before work begins, then following.

Every worker that needs what such topics say reads all their partitions, whichever partitions the group gave it.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import aiokafka
import structlog
from aiokafka.errors import KafkaError
from mode import Service

from streams.engine.alarms import raise_alarm

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from broker.settings import KafkaSettings
    from streams.engine.consumer import Record

log = structlog.get_logger(__name__)

LOAD_LIMIT_S = 60.0
POLL_MS = 500
RETRY_S = 1.0


class TopicsUnavailableError(Exception):
    """What a worker must know before it works could not be read in time; it must not start without it."""


class TopicTailer(Service):  # type: ignore[misc]
    """Hands every record of `names` (topics as they are called at the broker) to `take`, each partition in order.

    It begins with the oldest record of a topic, or with what the broker got from its time in `since_ms` on. `take` is
    given by the class that follows; it catches what is wrong with a record, or the record is skipped with an alarm.
    """

    def __init__(
        self,
        names: Sequence[str],
        settings: KafkaSettings,
        *,
        since_ms: Mapping[str, int] | None = None,
        **service: Any,  # noqa: ANN401 - Faust ships no types
    ) -> None:
        super().__init__(**service)
        self._names = tuple(names)
        self._settings = settings
        self._since_ms = since_ms or {}
        self._consumer: Any = None
        self._read_to: dict[aiokafka.TopicPartition, int] = {}
        self._progress = asyncio.Condition()

    @abstractmethod
    def take(self, record: Record) -> None:
        """One more record of the topics."""

    @abstractmethod
    def __len__(self) -> int:
        """How much is known, for the log and the metrics."""

    async def on_start(self) -> None:
        """Returns when everything that the topics held at this moment is in.

        Raises TopicsUnavailableError after a minute without the broker or a topic.
        """
        begin = time.monotonic()
        try:
            async with asyncio.timeout(LOAD_LIMIT_S):
                await self._open()
                await self._read_up_to(await self._consumer.end_offsets(list(self._read_to)))
        except (TimeoutError, KafkaError) as error:
            await self._close()
            raise TopicsUnavailableError(
                f"{', '.join(self._names)} could not be read within {LOAD_LIMIT_S:.0f} s ({error!r}); is the broker"
                f" {self._settings.bootstrap_servers} up, and has `freshtrack topics create` been run?"
            ) from error
        seconds = round(time.monotonic() - begin, 2)
        log.info("topics.loaded", topics=self._names, entries=len(self), seconds=seconds)

    async def _open(self) -> None:
        self._consumer = aiokafka.AIOKafkaConsumer(
            **self._settings.aiokafka(),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=4 << 20,
        )
        await self._consumer.start()
        partitions = [tp for name in self._names for tp in await self._partitions(name)]
        self._consumer.assign(partitions)
        await self._consumer.seek_to_beginning()
        await self._seek_to_times({tp: self._since_ms[tp.topic] for tp in partitions if tp.topic in self._since_ms})
        await self._note_positions(partitions)

    async def _partitions(self, name: str) -> list[aiokafka.TopicPartition]:
        while not (numbers := self._consumer.partitions_for_topic(name)):
            await self._consumer._client.force_metadata_update()  # noqa: SLF001 - no public way to wait for a topic
            await asyncio.sleep(0.1)
            await self._consumer.topics()
        return [aiokafka.TopicPartition(name, number) for number in sorted(numbers)]

    async def _seek_to_times(self, since_ms: Mapping[aiokafka.TopicPartition, int]) -> None:
        if not since_ms:
            return
        found = await self._consumer.offsets_for_times(dict(since_ms))
        ends = await self._consumer.end_offsets(list(since_ms))
        for tp, end in ends.items():
            # No record so young: everything that the partition holds is older.
            self._consumer.seek(tp, end if found.get(tp) is None else found[tp].offset)

    async def _note_positions(self, partitions: Iterable[aiokafka.TopicPartition]) -> None:
        for tp in partitions:
            self._read_to[tp] = await self._consumer.position(tp)
        async with self._progress:
            self._progress.notify_all()

    async def _read_up_to(self, ends: Mapping[aiokafka.TopicPartition, int]) -> None:
        while self._behind(ends):
            await self._read_on()

    def _take(self, record: Record) -> None:
        """One bad record must not keep every worker from starting: it is skipped and raises an alarm."""
        try:
            self.take(record)
        except Exception as error:  # noqa: BLE001 - whatever it is, it would come again at every start
            place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
            raise_alarm("reference.skipped", error, **place)

    def _behind(self, ends: Mapping[aiokafka.TopicPartition, int]) -> bool:
        return any(self._read_to[tp] < end for tp, end in ends.items())

    async def _read_on(self) -> None:
        fetched: Mapping[aiokafka.TopicPartition, Sequence[Record]] = await self._consumer.getmany(timeout_ms=POLL_MS)
        for records in fetched.values():
            for record in records:
                self._take(record)
        await self._note_positions(self._read_to)

    @Service.task  # type: ignore[untyped-decorator]
    async def follow(self) -> None:
        """Keep up with the topics; a broker that is away is waited for."""
        while not self.should_stop:
            try:
                await self._read_on()
            except KafkaError as error:
                log.warning("topics.waiting", topics=self._names, error=repr(error))
                await self.sleep(RETRY_S)

    async def on_stop(self) -> None:
        await self._close()

    async def _close(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()
