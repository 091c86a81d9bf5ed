"""When a worker has heard everything there is, with a fake for the consumer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from aiokafka.errors import NodeNotReadyError
from faust.types import TP

from streams.detection import consumer_lag
from streams.detection.consumer_lag import ConsumerLag
from streams.engine.partition import SourcePartition

if TYPE_CHECKING:
    from collections.abc import Collection

pytestmark = pytest.mark.anyio

P0 = TP("readings", 0)


class FakeConsumer:
    """One partition that ends at `end`; it is its own thread."""

    def __init__(self) -> None:
        self.epoch = 1
        self.end = 10
        self.at = 10
        self.down = False
        self.partitions = {P0: SourcePartition()}
        self.partitions[P0].place(0, None)
        self._held: dict[TP, object] = {}
        self._thread = self

    async def ends(self, tps: Collection[TP]) -> tuple[dict[TP, int], dict[TP, int], dict[TP, int]]:
        if self.down:
            raise NodeNotReadyError
        return {}, {}, dict.fromkeys(tps, self.end)

    async def position(self, tp: TP) -> int:
        return self.at


class World:
    def __init__(self) -> None:
        self.consumer = FakeConsumer()
        self.now_ms = 1_000
        self.lag = ConsumerLag(SimpleNamespace(consumer=self.consumer), "readings", lambda: self.now_ms)
        self.log = self.consumer.partitions[P0].log

    async def caught_up(self) -> bool:
        return 0 in await self.lag.caught_up([0])


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(consumer_lag, "LOOK_EVERY_S", 0.0)
    return World()


async def test_a_partition_is_caught_up_when_what_it_held_at_the_look_before_is_finished(world: World) -> None:
    span = world.log.hand_over(0, 9)
    assert not await world.caught_up()
    assert not await world.caught_up()
    assert world.lag.behind == {0: 10}
    world.log.finish(span)
    world.consumer.end = 12
    assert await world.caught_up()
    assert world.lag.behind == {0: 2}
    assert not await world.caught_up()


async def test_the_end_of_a_transaction_is_no_backlog(world: World) -> None:
    world.log.finish(world.log.hand_over(0, 8))
    assert [await world.caught_up() for _ in range(3)] == [False, True, True]
    assert world.lag.behind == {0: 0}


async def test_a_new_epoch_begins_anew(world: World) -> None:
    world.log.finish(world.log.hand_over(0, 9))
    await world.caught_up()
    assert await world.caught_up()
    world.consumer.partitions.clear()
    assert not await world.caught_up()


async def test_a_broker_that_does_not_answer_for_long_begins_the_time_of_listening_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.log.finish(world.log.hand_over(0, 9))
    await world.caught_up()
    assert await world.caught_up()
    assert world.lag.connected_since_ms == 1_000
    world.consumer.down = True
    assert not await world.caught_up()
    monkeypatch.setattr(consumer_lag, "BREAK_S", 0.0)
    world.consumer.down, world.now_ms = False, 90_000
    assert not await world.caught_up()
    assert world.lag.connected_since_ms == 90_000


async def test_a_short_break_costs_nobody_time(world: World) -> None:
    await world.caught_up()
    world.consumer.down = True
    await world.caught_up()
    world.consumer.down, world.now_ms = False, 3_000
    await world.caught_up()
    assert world.lag.connected_since_ms == 1_000
