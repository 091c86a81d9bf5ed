"""What Faust gives to the engine, replaced by as little as the engine touches: app, queues, tables' places, stores."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict, deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from faust.tables.table import Table

from streams.engine import timers
from streams.engine.applied_offset import applied_offset_of
from streams.engine.tables import BulkTable
from tests.simulation.processes import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence

    from faust.types import TP

    from streams.engine.consumer import Record
    from streams.engine.partition import OffsetRange, Partition


CHANGELOG = "-changelog"
# Every look costs steps, and finds nothing as a rule.
TIMERS_LOOK_S = 1.0


class Disk:
    """The data folders of one machine: they outlive the processes on it, and may be older than the changelog."""

    def __init__(self, keep_ms: int) -> None:
        # A folder older than this is dropped.
        self.keep_ms = keep_ms
        self.values: defaultdict[tuple[str, int], dict[bytes, bytes]] = defaultdict(dict)
        self.offsets: dict[tuple[str, int], int] = {}
        # When the offset was noted, by the broker's clock.
        self.as_of_ms: dict[tuple[str, int], int] = {}
        self.dropped = 0


class SimStore:
    """A `PartitionStore` on a disk."""

    def __init__(self, disk: Disk, table: str, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._disk = disk
        self._table = table

    def read(self, partition: int, key: bytes) -> bytes | None:
        return self._of(partition).get(key)

    def apply(self, partition: int, items: Mapping[bytes, bytes | None], offset: int | None = None) -> None:
        values = self._of(partition)
        for key, value in items.items():
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value
        if offset is not None:
            self.set_offset(partition, offset)

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        return iter(list(self._of(partition).items()))

    def offset(self, partition: int) -> int | None:
        return self._disk.offsets.get((self._table, partition))

    def drop(self, partition: int) -> None:
        self._disk.values.pop((self._table, partition), None)
        self._disk.offsets.pop((self._table, partition), None)

    def set_offset(self, partition: int, offset: int) -> None:
        self._disk.offsets[self._table, partition] = offset
        self._disk.as_of_ms[self._table, partition] = self._now_ms()

    def drop_old(self, partition: int) -> None:
        """As `RocksDBStore` does when it opens a partition: changelogs keep deletions for so long only."""
        place = self._table, partition
        if place in self._disk.offsets and self._now_ms() - self._disk.as_of_ms[place] >= self._disk.keep_ms:
            del self._disk.offsets[place]
            self._disk.values.pop(place, None)
            self._disk.dropped += 1

    def _of(self, partition: int) -> dict[bytes, bytes]:
        return self._disk.values[self._table, partition]


class SimTable(BulkTable):
    """A table whose changelog and store are simulated; reading, writing and restoring are the engine's."""

    should_stop = False

    def __init__(self, app: Any, name: str, disk: Disk, partitions: int, now_ms: Callable[[], int]) -> None:
        self._sim_store = SimStore(disk, name, now_ms)
        super().__init__(app, name=name, partitions=partitions, key_type=bytes, value_type=bytes)

    @property
    def store(self) -> SimStore:
        return self._sim_store

    @property
    def changelog_topic_name(self) -> str:
        return f"{self.name}{CHANGELOG}"


def _init(self: Any, app: Any, *, name: str, partitions: int, **settings: Any) -> None:
    self.app = app
    self.name = name
    self.partitions = partitions
    self.key_type, self.value_type = settings["key_type"], settings["value_type"]


async def _on_rebalance(self: Any, *_: Any, **__: Any) -> None:
    """Faust opens and closes databases here."""


@contextlib.contextmanager
def faust_stands_aside() -> Iterator[None]:
    """Faust's table does nothing of its own while this is open, and timers look for a new assignment less often."""
    with (
        patch.object(Table, "__init__", _init),
        patch.object(Table, "on_rebalance", _on_rebalance),
        patch.object(timers, "LOOK_AGAIN_S", TIMERS_LOOK_S),
    ):
        yield


class Queues:
    """Faust's conductor and streams: one queue a topic; closed while the group rebalances."""

    def __init__(self, topics: Iterable[str]) -> None:
        self._waiting: dict[str, deque[Any]] = {topic: deque() for topic in topics}
        self._news = asyncio.Event()
        self._open = False

    def put(self, message: Any) -> None:
        self._waiting[message.topic].append(message)
        self._news.set()

    def suspend(self) -> None:
        self._open = False

    def resume(self) -> None:
        self._open = True
        self._news.set()

    def clear(self) -> None:
        for queue in self._waiting.values():
            queue.clear()

    async def messages(self, topic: str) -> AsyncIterator[Any]:
        queue = self._waiting[topic]
        while True:
            while not (self._open and queue):
                self._news.clear()
                await self._news.wait()
            yield queue.popleft()


class Stream:
    """What `each_batch` asks of a Faust stream."""

    def __init__(self, app: Any, topic: str) -> None:
        self._app = app
        self._topic = topic

    def noack(self) -> Stream:
        return self

    async def events(self) -> AsyncIterator[Any]:
        async for message in self._app.queues.messages(self._topic):
            yield SimpleNamespace(message=message)


class SimApp:
    """What the engine asks of a Faust app; it is the `Flows` of the engine's `GroupMember` as well."""

    def __init__(self, settings: Any, producer: Any, topics: Iterable[str], max_batch: int) -> None:
        self.worker_settings = settings
        self.send_limit_s = settings.send_limit_s
        self.producer = SimpleNamespace(_ensure_producer=lambda: producer)
        self.conf = SimpleNamespace(producer_max_batch_size=1 << 20, producer_max_request_size=4 << 20)
        self.queues = Queues(topics)
        self.consumer: Any = None
        self.assigned: frozenset[TP] = frozenset()
        self.assignor = SimpleNamespace(assigned_actives=lambda: self.assigned)
        self.tables: dict[str, SimTable] = {}
        self._max_batch = max_batch

    @staticmethod
    def applied_offset_of(raw: bytes) -> int:
        return applied_offset_of(raw)

    def is_changelog(self, topic: str) -> bool:
        return topic.endswith(CHANGELOG)

    def batch_size(self, topic: str) -> int:
        return self._max_batch

    def begin(self) -> None:
        self.queues.resume()

    async def hand_over(self, tp: TP, partition: Partition, taken: OffsetRange, records: Sequence[Record]) -> None:
        message = SimpleNamespace(
            topic=tp.topic, partition=tp.partition, value=records, range=taken, source=partition, acked=False
        )
        self.queues.put(message)

    async def failed(self, error: BaseException) -> None:
        await self.crash(error)

    def stored_offset(self, tp: TP) -> int | None:
        return self._table(tp).store.offset(tp.partition)

    def drop(self, tp: TP) -> None:
        self._table(tp).store.drop(tp.partition)

    def restore(self, tp: TP, records: Sequence[Record]) -> None:
        self._table(tp).restore(tp, records)

    def _table(self, tp: TP) -> SimTable:
        return self.tables[tp.topic.removesuffix(CHANGELOG)]

    async def crash(self, reason: BaseException) -> None:
        """A crashed worker ends; what it has not committed is read again."""
        process = running.get()
        assert process is not None
        process.end(f"crashed: {reason!r}")
