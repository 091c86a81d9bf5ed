"""A real table over a real store, with a fake broker that acknowledges when the test says so."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiokafka.producer.message_accumulator import BatchBuilder

from streams.engine.app import create_app
from streams.engine.applied_offset import applied_offset_of
from streams.engine.sends import Sends
from streams.engine.settings import WorkerSettings

if TYPE_CHECKING:
    from pathlib import Path

    from streams.engine.tables import BulkTable

BATCH_BYTES = 1_000


class Place:
    """A partition that this worker owns."""

    def __init__(self, partition: int = 0) -> None:
        self.partition = partition
        self.epoch = 1
        self.ours = True

    def still_ours(self) -> bool:
        return self.ours


class FakeProducer:
    """Queues batches; `acknowledge` answers the oldest one as the broker would."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, asyncio.Future[Any]]] = []
        self.end = 0
        self.taking = asyncio.Event()
        self.taking.set()

    def _ensure_producer(self) -> FakeProducer:
        return self

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(BATCH_BYTES, 0)

    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future[Any]:
        await self.taking.wait()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiting.append((batch.record_count(), future))
        return future

    async def acknowledge(self, *, of_another: int = 0) -> None:
        """`of_another` records of another worker came first."""
        count, future = self.waiting.pop(0)
        self.end += of_another
        future.set_result(SimpleNamespace(offset=self.end))
        self.end += count
        await asyncio.sleep(0)


class TableWorld:
    def __init__(self, folder: Path, store: str) -> None:
        settings = WorkerSettings(store=store, data_dir=folder)
        self.app: Any = create_app("world", settings, batched=(), applied_offset_of=applied_offset_of)
        self.producer = FakeProducer()
        self.app.producer = self.producer
        self.app.conf.producer_max_batch_size = BATCH_BYTES
        self.member = SimpleNamespace(sends=Sends(5), at_work=nullcontext)
        self.app._consumer = SimpleNamespace(member=self.member)
        self.table: BulkTable = self.app.Table("rows", partitions=2, key_type=bytes, value_type=bytes)

    def stored(self, key: bytes) -> bytes | None:
        """What the next process would find on this machine."""
        return self.table.store.read(0, key)
