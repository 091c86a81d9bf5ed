"""aiokafka's producer, as far as the engine uses it, over the fake broker."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Any

from tests.simulation.partition_log import Unsent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.simulation.broker import Broker

MAX_BATCH_RECORDS = 16


class SimBatch:
    """Full after a few records, so that writes of several batches are tried."""

    def __init__(self) -> None:
        self.records: list[Unsent] = []

    def append(
        self, *, timestamp: int, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()
    ) -> object | None:
        if len(self.records) >= MAX_BATCH_RECORDS:
            return None
        self.records.append(Unsent(key, value, tuple(headers)))
        return self

    def record_count(self) -> int:
        return len(self.records)

    def size(self) -> int:
        return sum(len(record.key or b"") + len(record.value or b"") for record in self.records)

    def close(self) -> None:
        """Nothing is added after this."""


class SimProducer:
    """One connection of one process."""

    def __init__(self, broker: Broker, limit_s: float) -> None:
        self._broker = broker
        self._limit_s = limit_s

    async def _wait_for_room(self) -> None:
        """In its buffer, or for metadata: not often, but then others get ahead."""
        if self._broker.rng.random() < 0.15:
            await asyncio.sleep(self._broker.rng.random() * 0.02)

    def create_batch(self) -> SimBatch:
        return SimBatch()

    async def send_batch(self, batch: SimBatch, topic: str, *, partition: int) -> Any:
        await self._wait_for_room()
        return self._broker.send(self, topic, partition, batch.records, self._limit_s)

    async def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Any:
        if partition is None:
            partition = zlib.crc32(key or b"") % len(self._broker.topics[topic])
        await self._wait_for_room()
        record = Unsent(key, value, tuple(headers))
        return self._broker.send(self, topic, partition, [record], self._limit_s)
