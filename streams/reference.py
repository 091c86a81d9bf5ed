"""Replicas of the compacted configuration topics, held in memory by every worker that needs them.

A Faust `GlobalTable` on a topic that Faust did not name hangs the group's assignment. A replica reads its topic from
the start with a consumer of its own that belongs to no group, is complete before the worker's own consumer starts, and
then follows what comes.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import aiokafka
import msgspec
import structlog
from aiokafka.errors import KafkaError
from faust.app.base import BootStrategy
from mode import Service

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import faust

    from schemas.topics import Topic
    from streams.settings import KafkaSettings

log = structlog.get_logger(__name__)

T = TypeVar("T", bound=msgspec.Struct)

LOAD_LIMIT_S = 60.0
POLL_MS = 500
RETRY_S = 1.0


class ReferenceUnavailableError(Exception):
    """The configuration could not be read in time; the worker must not start without it."""


class Replica(Service, Generic[T]):  # type: ignore[misc]
    """The newest version of every entry of one compacted topic: `get(id)`, `values()`.

    `version` changes whenever an entry does. A record that cannot be decoded is logged and counted in `refused`; the
    entry keeps its former version, so that one bad configuration does not silence a unit.
    """

    def __init__(self, topic: Topic, message_type: type[T], settings: KafkaSettings, **service: Any) -> None:  # noqa: ANN401
        super().__init__(**service)
        self.topic = topic
        self.version = 0
        self.refused = 0
        self._settings = settings
        self._name = settings.topic(topic.name)
        self._decode = msgspec.json.Decoder(message_type).decode
        self._entries: dict[str, T] = {}
        self._consumer: Any = None

    def get(self, entry_id: str) -> T | None:
        return self._entries.get(entry_id)

    def values(self) -> Iterable[T]:
        return self._entries.values()

    def __len__(self) -> int:
        return len(self._entries)

    async def on_start(self) -> None:
        """Returns when everything that the topic held at this moment is in.

        Raises ReferenceUnavailableError after a minute without the broker or the topic.
        """
        begin = time.monotonic()
        try:
            async with asyncio.timeout(LOAD_LIMIT_S):
                await self._open()
                await self._load()
        except (TimeoutError, KafkaError) as error:
            await self._close()
            raise ReferenceUnavailableError(
                f"topic {self._name} could not be read within {LOAD_LIMIT_S:.0f} s ({error!r}); is the broker "
                f"{self._settings.bootstrap_servers} up, and has `freshtrack topics create` been run?"
            ) from error
        log.info("reference.loaded", topic=self._name, entries=len(self), seconds=round(time.monotonic() - begin, 2))

    async def _open(self) -> None:
        self._consumer = aiokafka.AIOKafkaConsumer(
            **self._settings.aiokafka(),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=4 << 20,
        )
        await self._consumer.start()
        while not (partitions := self._consumer.partitions_for_topic(self._name)):
            await self._consumer._client.force_metadata_update()  # noqa: SLF001 - no public way to wait for a topic
            await asyncio.sleep(0.1)
            await self._consumer.topics()
        self._consumer.assign([aiokafka.TopicPartition(self._name, number) for number in sorted(partitions)])
        await self._consumer.seek_to_beginning()

    async def _load(self) -> None:
        partitions = list(self._consumer.assignment())
        ends: Mapping[Any, int] = await self._consumer.end_offsets(partitions)
        behind = {partition for partition in partitions if ends[partition] > 0}
        while behind:
            self._apply_all(await self._consumer.getmany(timeout_ms=POLL_MS))
            behind = {p for p in behind if await self._consumer.position(p) < ends[p]}

    def _apply_all(self, fetched: Mapping[Any, Sequence[Any]]) -> None:
        for records in fetched.values():
            for record in records:
                self.apply(record.key, record.value)

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Take one record in: a value replaces the entry of that key, a tombstone deletes it."""
        if key is None:
            self._refuse(None, "the record has no key")
            return
        entry_id = key.decode(errors="replace")
        if value is None:
            if self._entries.pop(entry_id, None) is not None:
                self.version += 1
            return
        try:
            entry = self._decode(value)
        except msgspec.MsgspecError as error:
            self._refuse(entry_id, str(error))
            return
        self._entries[entry_id] = entry
        self.version += 1

    def _refuse(self, entry_id: str | None, why: str) -> None:
        self.refused += 1
        log.error("reference.refused", topic=self._name, key=entry_id, why=why, kept=entry_id in self._entries)

    @Service.task  # type: ignore[untyped-decorator]
    async def follow(self) -> None:
        """Keep up with the topic; a broker that is away is waited for."""
        while not self.should_stop:
            try:
                self._apply_all(await self._consumer.getmany(timeout_ms=POLL_MS))
            except KafkaError as error:
                log.warning("reference.waiting", topic=self._name, error=repr(error))
                await self.sleep(RETRY_S)

    async def on_stop(self) -> None:
        await self._close()

    async def _close(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()


def load_before_work(app: faust.App, replicas: Sequence[Replica[Any]]) -> None:
    """Start `replicas` before anything else of the app, so that the first record already finds them complete."""

    class ReferenceFirst(BootStrategy):  # type: ignore[misc]
        def sensors(self) -> Iterable[Any]:
            return [*replicas, *super().sensors()]

    app.boot_strategy = ReferenceFirst(app)
