"""Tables: the changelog first, then the store; reads see a write at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from streams.engine.expiry import Expiry
from streams.engine.publish import PublishError
from tests.streams.engine.table_world import Place, TableWorld

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "rocksdb"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> TableWorld:
    return TableWorld(tmp_path, request.param)


async def test_the_store_has_nothing_that_the_changelog_has_not(world: TableWorld) -> None:
    place = Place()
    await world.table.write(place, {b"a": b"1", b"b": b"1"})
    assert world.stored(b"a") is None
    await world.producer.acknowledge()
    assert world.stored(b"a") == b"1"
    await world.table.write(place, {b"a": None})
    assert world.stored(b"a") == b"1"
    await world.producer.acknowledge()
    assert world.stored(b"a") is None


async def test_reads_see_a_write_before_the_broker_has_it(world: TableWorld) -> None:
    place = Place()
    await world.table.write(place, {b"a": b"1", b"b": b"1"})
    await world.producer.acknowledge()
    await world.table.write(place, {b"a": b"2", b"b": None})
    await world.table.write(place, {b"a": b"3", b"c": b"3"})
    assert world.table.read(place, b"a") == b"3"
    assert [world.table.read(place, key) for key in (b"b", b"c", b"d")] == [None, b"3", None]
    assert dict(world.table.scan(place)) == {b"a": b"3", b"c": b"3"}
    await world.producer.acknowledge()
    assert (world.table.read(place, b"a"), world.stored(b"a")) == (b"3", b"2")
    await world.producer.acknowledge()
    assert dict(world.table.scan(place)) == {b"a": b"3", b"c": b"3"} == dict(world.table.store.scan(0))


async def test_a_refused_record_never_reaches_the_store_and_stops_all_commits(world: TableWorld) -> None:
    place = Place()
    await world.table.write(place, {b"a": b"1"})
    await world.table.write(place, {b"b": b"1"})
    _, refused = world.producer.waiting.pop(0)
    refused.set_exception(ConnectionError("refused"))
    await asyncio.sleep(0)
    await world.producer.acknowledge()
    assert (world.stored(b"a"), world.stored(b"b")) == (None, None)
    with pytest.raises(PublishError, match="a send failed"):
        world.member.sends.check()


async def test_an_acknowledgement_before_an_earlier_one_stops_all_commits(world: TableWorld) -> None:
    place = Place()
    await world.table.write(place, {b"a": b"1"})
    await world.table.write(place, {b"b": b"1"})
    world.producer.waiting.reverse()
    await world.producer.acknowledge()
    assert (world.stored(b"a"), world.stored(b"b")) == (None, None)
    with pytest.raises(PublishError, match="acknowledged before earlier ones"):
        world.member.sends.check()


async def test_the_offset_of_the_store_goes_on_after_a_batch_was_given_back(world: TableWorld) -> None:
    place = Place()
    await world.table.write(place, {b"a": b"1"})
    place.epoch += 1
    await world.producer.acknowledge()
    await world.table.write(place, {b"a": b"2"})
    await world.producer.acknowledge()
    assert world.table.store.offset(0) == 1


async def test_the_offset_of_the_store_stays_behind_what_another_worker_wrote(world: TableWorld) -> None:
    place = Place()
    await world.table.write(place, {b"a": b"1"})
    await world.producer.acknowledge()
    await world.table.write(place, {b"a": b"2"})
    await world.producer.acknowledge(of_another=3)
    assert world.table.store.offset(0) == 0


async def test_an_acknowledgement_after_the_partition_went_changes_nothing(world: TableWorld) -> None:
    place = Place()
    await world.table.write(place, {b"a": b"1"})
    await world.table.on_rebalance(set(), set(), set())
    assert world.table.read(place, b"a") is None
    await world.producer.acknowledge()
    assert (world.stored(b"a"), world.table.store.offset(0)) == (None, None)


async def test_a_store_that_fails_stops_all_commits(world: TableWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(world.table.store, "apply", full)
    monkeypatch.setattr(asyncio.get_running_loop(), "call_exception_handler", lambda _: None)
    await world.table.write(Place(), {b"a": b"1"})
    await world.producer.acknowledge()
    with pytest.raises(PublishError, match="no space left"):
        world.member.sends.check()


async def test_expiry_leaves_a_row_that_was_written_after_it_was_judged(
    world: TableWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place()
    await world.table.write(place, {b"over": b"old", b"renewed": b"old"})
    monkeypatch.setattr(world.table, "owned", lambda: [place])
    world.producer.taking.clear()
    under_way = asyncio.create_task(world.table.write(place, {b"other": b"new"}))
    renewing = asyncio.create_task(world.table.write(place, {b"renewed": b"fresh"}))
    await asyncio.sleep(0)
    expiring = asyncio.create_task(Expiry("rows", world.table, lambda _, raw: raw == b"old").once())
    await asyncio.sleep(0)
    world.producer.taking.set()
    await asyncio.gather(under_way, renewing)
    assert await expiring == 1
    assert dict(world.table.scan(place)) == {b"other": b"new", b"renewed": b"fresh"}


async def test_a_large_write_is_split_and_each_part_stored_when_it_arrived(world: TableWorld) -> None:
    rows = {b"%03d" % number: b"x" * 100 for number in range(20)}
    await world.table.write(Place(), dict(rows))
    assert len(world.producer.waiting) > 1
    first = world.producer.waiting[0][0]
    await world.producer.acknowledge()
    assert len(dict(world.table.store.scan(0))) == first
    while world.producer.waiting:
        await world.producer.acknowledge()
    assert dict(world.table.store.scan(0)) == rows
    assert world.table.store.offset(0) == 19
