"""Delivery while a batch of another partition is read again, with fakes for Faust and the broker."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from faust.types import TP

from streams.engine.back_pressure import Room
from streams.engine.delivery import StreamConsumer
from streams.engine.membership import Held
from streams.engine.partition import SourcePartition

pytestmark = pytest.mark.anyio

Q = TP("readings", 1)


class Rec(NamedTuple):
    offset: int
    topic: str = Q.topic
    partition: int = Q.partition
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Consumer(StreamConsumer):
    """Only what delivery touches; each message that is handed over is kept."""

    def __init__(self) -> None:
        self.app = SimpleNamespace(
            tables=SimpleNamespace(changelog_topics=()), batch_sizes={Q.topic: 50}, consumer_generation_id=1
        )
        self.handed: list[Any] = []
        self.partitions = {Q: SourcePartition()}
        self.room = Room(8)
        self.counts: Counter[str] = Counter()
        self._in_hand: dict[Any, Any] = {}
        self._held = {}
        self._ready = True

    async def callback(self, message: Any) -> None:
        self.handed.append(message)

    def _give_back_last(self) -> None:
        self.partitions[Q].give_back(self.handed[-1].claim)


async def test_what_is_held_behind_a_batch_that_came_back_is_not_delivered() -> None:
    consumer = Consumer()
    consumer.partitions[Q].place(100, 100)
    held = consumer._held[Q] = Held([Rec(offset) for offset in range(100, 200)])
    await consumer._deliver_one(Q, held)
    consumer._give_back_last()
    await consumer._deliver_one(Q, held)
    assert [message.offset for message in consumer.handed] == [100]
    assert consumer.partitions[Q].log.next_offset == 100
    assert Q not in consumer._held
