"""The fake broker behaves as Kafka does where the engine depends on it."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import pytest
from aiokafka.errors import CommitFailedError, KafkaError

from tests.simulation.broker import Broker
from tests.simulation.group import Group, UnknownMember
from tests.simulation.loop import SimLoop
from tests.simulation.partition_log import OffsetOutOfRange, PartitionLog, Unsent
from tests.simulation.processes import Process, ProcessEnded, running
from tests.simulation.schedules import Fifo

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def broker() -> Iterator[Broker]:
    loop = SimLoop(Fifo(), Random(0))
    broker = Broker(loop, Random(1))
    broker.create("readings", 4)
    yield broker
    loop.close()


def unsent(*keys: str, value: bytes | None = b"v") -> list[Unsent]:
    return [Unsent(key.encode(), value) for key in keys]


def offsets(log: PartitionLog) -> list[int]:
    return [record.offset for record in log.records]


def test_markers_leave_gaps_and_reading_begins_behind_them() -> None:
    log = PartitionLog("t", 0)
    log.append(unsent("a"), 0)
    log.end_transaction()
    log.append(unsent("b"), 0)
    assert offsets(log) == [0, 2]
    assert [record.offset for record in log.read(1, 10)] == [2]


def test_compaction_keeps_the_newest_of_each_key_and_young_records() -> None:
    log = PartitionLog("t", 0)
    for at, keys in enumerate(["ab", "a", "b"]):
        log.append(unsent(*keys), at)
    log.compact(before_ms=2, tombstones_before_ms=0)
    assert offsets(log) == [1, 2, 3]


def test_a_tombstone_goes_when_it_is_old_and_an_old_folder_misses_it() -> None:
    log = PartitionLog("t", 0)
    log.append(unsent("a"), 0)
    log.append(unsent("a", value=None), 1)
    log.compact(before_ms=5, tombstones_before_ms=0)
    assert offsets(log) == [1]
    log.compact(before_ms=5, tombstones_before_ms=2)
    assert offsets(log) == []
    assert log.end == 2


def test_what_retention_took_cannot_be_read() -> None:
    log = PartitionLog("t", 0)
    log.append(unsent(*"abc"), 0)
    log.retain_from(2)
    with pytest.raises(OffsetOutOfRange):
        log.read(1, 10)
    with pytest.raises(OffsetOutOfRange):
        log.read(4, 10)


def test_sends_of_one_client_to_a_partition_keep_their_order_and_others_do_not(broker: Broker) -> None:
    async def main() -> None:
        for turn in range(200):
            for partition in (0, 1):
                broker.send("client", "readings", partition, unsent(str(turn)), 30)
        await asyncio.sleep(60)

    broker.loop.run(main())
    keys = [[record.key for record in log.records] for log in broker.topics["readings"][:2]]
    assert keys[0] == keys[1] == [str(turn).encode() for turn in range(200)]


def test_a_send_of_a_killed_process_still_arrives_and_its_next_one_does_not(broker: Broker) -> None:
    process = Process("worker")

    async def work() -> None:
        broker.send("client", "readings", 0, unsent("sent"), 30)
        await asyncio.sleep(0)
        with pytest.raises(ProcessEnded):
            broker.send("client", "readings", 0, unsent("too late"), 30)

    async def main() -> None:
        running.set(process)
        task = asyncio.create_task(work())
        running.set(None)
        await asyncio.sleep(0)
        process.end("killed")
        await asyncio.sleep(5)
        task.cancel()

    broker.loop.run(main())
    assert [record.key for record in broker.log("readings", 0).records] == [b"sent"]


def test_a_send_that_failed_may_have_arrived(broker: Broker) -> None:
    broker.weather.lost_request_one_in = broker.weather.lost_answer_one_in = 3

    async def main() -> set[tuple[bool, bool]]:
        found = set()
        for turn in range(40):
            key = str(turn)
            try:
                await broker.send("client", "readings", 0, unsent(key), 1)
                failed = False
            except KafkaError:
                failed = True
            await asyncio.sleep(2)
            found.add((failed, any(record.key == key.encode() for record in broker.log("readings", 0).records)))
        return found

    assert broker.loop.run(main()) == {(False, True), (True, True), (True, False)}


def test_without_a_leader_a_send_waits_and_then_fails(broker: Broker) -> None:
    async def main() -> None:
        broker.log("readings", 0).has_leader = False
        with pytest.raises(KafkaError):
            await broker.send("client", "readings", 0, unsent("a"), 2)
        sent = broker.send("client", "readings", 0, unsent("b"), 5)
        await asyncio.sleep(1)
        broker.log("readings", 0).has_leader = True
        await sent

    broker.loop.run(main())
    assert [record.key for record in broker.log("readings", 0).records] == [b"b"]


async def two_members(broker: Broker) -> Group:
    group = Group(broker, ["readings"], session_s=10, rebalance_s=15)
    first = await group.join("a")
    again = group.join("b"), group.join("a")
    second = await again[0]
    await again[1]
    assert (first[0], second[0]) == (1, 2)
    return group


def test_partitions_are_shared_and_an_old_generation_commits_nothing(broker: Broker) -> None:
    async def main() -> None:
        group = await two_members(broker)
        assert sorted(group.assignment["a"] + group.assignment["b"]) == [0, 1, 2, 3]
        group.commit("a", 2, {("readings", 0): 5})
        with pytest.raises(CommitFailedError):
            group.commit("b", 1, {("readings", 0): 3})
        assert group.committed == {("readings", 0): 5}

    broker.loop.run(main())


def test_a_silent_member_loses_its_partitions(broker: Broker) -> None:
    async def main() -> None:
        group = await two_members(broker)
        group.watch()
        for _ in range(20):
            await asyncio.sleep(1)
            if not group.heartbeat("a"):
                await group.join("a")
        assert group.assignment == {"a": (0, 1, 2, 3)}
        with pytest.raises(UnknownMember):
            group.heartbeat("b")

    broker.loop.run(main())
