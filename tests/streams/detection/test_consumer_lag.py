"""When a worker has heard everything there is, with a fake for the consumer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from aiokafka.errors import NodeNotReadyError
from faust.types import TP

from streams.detection import consumer_lag
from streams.detection.consumer_lag import ConsumerLag
from streams.engine.broker_client import Fetched, Offsets
from streams.engine.partition import Partition
from tests.streams.engine.engine_fakes import run

if TYPE_CHECKING:
    from collections.abc import Collection

    from streams.engine.partition import OffsetRange

pytestmark = pytest.mark.anyio

P0 = TP("readings", 0)


class FakeMember:
    """One partition that ends at `end`; it is its own client."""

    def __init__(self) -> None:
        self.end = 10
        self.down = False
        self.partitions = {P0: Partition(0, None, epoch=1)}
        self.client = self
        self.partitions[P0].sought(0)

    async def offsets(self, tps: Collection[TP], *, limit_s: float) -> dict[TP, Offsets]:
        if self.down:
            raise NodeNotReadyError
        return {tp: Offsets(None, 0, self.end) for tp in tps}


class World:
    def __init__(self) -> None:
        self.member = FakeMember()
        self.now_ms = 1_000
        app = SimpleNamespace(consumer=SimpleNamespace(member=self.member))
        self.lag = ConsumerLag(app, "readings", lambda: self.now_ms)

    def hand_over(self, records: int, position: int = 10) -> OffsetRange:
        """A flow gets so many records; what lies before the position without a record is of a transaction."""
        partition = self.member.partitions[P0]
        partition.take(Fetched(0, position, run(*range(records))))
        found = partition.assign(records)
        assert found is not None
        return found[0]

    def finish(self, taken: OffsetRange) -> None:
        self.member.partitions[P0].complete(taken)

    async def caught_up(self) -> bool:
        return 0 in await self.lag.caught_up([0])


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(consumer_lag, "LOOK_EVERY_S", 0.0)
    return World()


async def test_a_partition_is_caught_up_when_what_it_held_at_the_look_before_is_finished(world: World) -> None:
    taken = world.hand_over(10)
    assert not await world.caught_up()
    assert not await world.caught_up()
    assert world.lag.behind == {0: 10}
    world.finish(taken)
    world.member.end = 12
    assert await world.caught_up()
    assert world.lag.behind == {0: 2}
    assert not await world.caught_up()


async def test_the_end_of_a_transaction_is_no_backlog(world: World) -> None:
    world.finish(world.hand_over(9))
    assert [await world.caught_up() for _ in range(3)] == [False, True, True]
    assert world.lag.behind == {0: 0}


async def test_nothing_is_caught_up_after_a_rebalance_until_it_was_looked_at_twice(world: World) -> None:
    world.finish(world.hand_over(10))
    await world.caught_up()
    assert await world.caught_up()
    world.member.partitions = {}
    assert not await world.caught_up()


async def test_a_broker_that_does_not_answer_for_long_begins_the_time_of_listening_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.finish(world.hand_over(10))
    await world.caught_up()
    assert await world.caught_up()
    assert world.lag.connected_since_ms == 1_000
    world.member.down = True
    assert not await world.caught_up()
    monkeypatch.setattr(consumer_lag, "BREAK_S", 0.0)
    world.member.down, world.now_ms = False, 90_000
    assert not await world.caught_up()
    assert world.lag.connected_since_ms == 90_000


async def test_a_short_break_costs_nobody_time(world: World) -> None:
    await world.caught_up()
    world.member.down = True
    await world.caught_up()
    world.member.down, world.now_ms = False, 3_000
    await world.caught_up()
    assert world.lag.connected_since_ms == 1_000
