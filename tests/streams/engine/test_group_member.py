"""The engine over a broker in memory: nothing skipped, every wait ends, and what cannot go on ends the worker."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiokafka.errors import KafkaConnectionError
from faust.types import TP

from streams.engine.consumer import Batch, Stale
from streams.engine.lag_watchdog import StalledError
from streams.engine.placement import TopicTruncatedError
from streams.engine.publish import PublishError
from tests.streams.engine.engine_fakes import FakeClient, FakeFlows, member_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from streams.engine.group_member import GroupMember
    from tests.conftest import Eventually

pytestmark = pytest.mark.anyio

P, Q = TP("readings", 0), TP("readings", 1)
CHANGELOG = TP("states-changelog", 0)


@asynccontextmanager
async def serving(client: FakeClient, flows: FakeFlows, **limits: float) -> AsyncIterator[GroupMember]:
    member = member_of(client, flows, **limits)
    await member.assigned(client.ends)
    try:
        yield member
    finally:
        await flows.close()


async def test_everything_is_delivered_in_order_and_committed(eventually: Eventually) -> None:
    client, flows = FakeClient({P: 1_000, Q: 700}), FakeFlows()
    client.gaps = {0, 99, 400, 401}
    async with serving(client, flows) as member:
        await eventually.awaited(lambda: len(flows.seen[P]) == 996 and len(flows.seen[Q]) == 696)
        assert await member.commit()
    assert flows.seen[P] == [offset for offset in range(1_000) if offset not in client.gaps]
    assert flows.seen[Q] == [offset for offset in range(700) if offset not in client.gaps]
    assert client.committed == {P: 1_000, Q: 700}


async def test_a_batch_that_comes_back_while_another_partition_is_sought_skips_nothing(eventually: Eventually) -> None:
    """P's batch is stale; while P's position is set back, a batch of Q comes back as well."""
    client, flows = FakeClient({P: 2_000, Q: 2_000}), FakeFlows()
    seeking, second = asyncio.Event(), asyncio.Event()
    stale = {(P, 100), (Q, 100)}

    async def handle(batch: Batch) -> None:
        place = (TP(batch.topic, batch.partition), batch.records[0].offset)
        if place in stale:
            stale.discard(place)
            if place[0] == Q:
                await seeking.wait()
            raise Stale
        await asyncio.sleep(0)

    async def before_seek() -> None:
        if (P, 100) not in stale and not second.is_set():
            seeking.set()
            second.set()
            for _ in range(5):
                await asyncio.sleep(0)

    flows.handle = handle
    client.before["seek"] = before_seek
    async with serving(client, flows) as member:
        await eventually.awaited(lambda: len(flows.seen[P]) == len(flows.seen[Q]) == 2_000)
        await member.commit()
    assert not stale
    assert flows.seen == {P: list(range(2_000)), Q: list(range(2_000))}


async def test_a_batch_that_comes_back_concerns_its_own_partition_alone(eventually: Eventually) -> None:
    client, flows = FakeClient({P: 60, Q: 60}), FakeFlows()
    back, held = asyncio.Event(), asyncio.Event()
    epochs: dict[int, list[int]] = {0: [], 1: []}

    async def handle(batch: Batch) -> None:
        epochs[batch.partition].append(batch.epoch)
        if batch.partition == 0 and not back.is_set():
            back.set()
            raise Stale
        if batch.partition == 1 and not held.is_set():
            held.set()
            await eventually.awaited(lambda: flows.seen[P])
            assert batch.still_ours()

    flows.handle = handle
    async with serving(client, flows):
        await eventually.awaited(lambda: len(flows.seen[P]) == len(flows.seen[Q]) == 60)
    assert epochs[0][1] > epochs[0][0]
    assert len(set(epochs[1])) == 1


async def test_a_step_that_the_broker_does_not_answer_is_repeated_then_ends_the_worker(eventually: Eventually) -> None:
    client, flows = FakeClient({P: 10}), FakeFlows()

    async def away() -> None:
        raise KafkaConnectionError

    client.before["offsets"] = away
    async with serving(client, flows, stall_limit_s=0.6):
        await eventually.awaited(lambda: flows.errors)
    assert isinstance(flows.errors[0], TimeoutError)
    assert "did not succeed within" in str(flows.errors[0])


async def test_a_broker_that_comes_back_in_time_is_enough(eventually: Eventually) -> None:
    client, flows = FakeClient({P: 10}), FakeFlows()

    async def away_once() -> None:
        client.before.clear()
        raise KafkaConnectionError

    client.before["offsets"] = away_once
    async with serving(client, flows):
        await eventually.awaited(lambda: len(flows.seen[P]) == 10)
    assert not flows.errors


async def test_tables_are_restored_before_anything_is_delivered(eventually: Eventually) -> None:
    client, flows = FakeClient({P: 10, CHANGELOG: 40}), FakeFlows()
    client.gaps, client.at_most = {38, 39}, 7
    flows.stored[CHANGELOG] = 9
    async with serving(client, flows):
        await eventually.awaited(lambda: flows.handed)
        assert flows.restored[CHANGELOG] == list(range(10, 38))


async def test_a_delivery_that_is_cancelled_from_within_ends_the_worker(eventually: Eventually) -> None:
    """As when the client's thread goes: nobody would deliver any more, and nobody would say so."""
    client, flows = FakeClient({P: 10}), FakeFlows()

    async def cancelled() -> None:
        raise asyncio.CancelledError

    client.before["offsets"] = cancelled
    async with serving(client, flows):
        await eventually.awaited(lambda: flows.errors)


async def test_an_assignment_that_is_given_up_is_no_failure(eventually: Eventually) -> None:
    client, flows = FakeClient({P: 10}), FakeFlows()
    async with serving(client, flows) as member:
        await eventually.awaited(lambda: len(flows.seen[P]) == 10)
        await member.assigned(client.ends)
        await member.end()
    assert not flows.errors


async def test_a_store_that_lacks_deleted_records_of_its_changelog_is_dropped(eventually: Eventually) -> None:
    client, flows = FakeClient({P: 10, CHANGELOG: 40}), FakeFlows()
    client.first[CHANGELOG] = 11
    flows.stored[CHANGELOG] = 9
    async with serving(client, flows):
        await eventually.awaited(lambda: flows.handed)
        assert CHANGELOG not in flows.stored
        assert flows.restored[CHANGELOG] == list(range(11, 40))


async def test_a_store_that_knows_all_before_the_first_record_is_kept(eventually: Eventually) -> None:
    client, flows = FakeClient({P: 10, CHANGELOG: 40}), FakeFlows()
    client.first[CHANGELOG] = 10
    flows.stored[CHANGELOG] = 9
    async with serving(client, flows):
        await eventually.awaited(lambda: flows.handed)
        assert flows.stored[CHANGELOG] == 9


async def test_a_topic_that_was_created_again_ends_the_worker_with_the_way_out(eventually: Eventually) -> None:
    client, flows = FakeClient({P: 10}), FakeFlows()
    client.committed[P] = 900
    async with serving(client, flows):
        await eventually.awaited(lambda: flows.errors)
    assert isinstance(flows.errors[0], TopicTruncatedError)
    assert not flows.handed


async def test_a_topic_that_loses_its_end_while_it_is_read_ends_the_worker(eventually: Eventually) -> None:
    client, flows = FakeClient({P: 100}), FakeFlows()
    async with serving(client, flows):
        await eventually.awaited(lambda: len(flows.seen[P]) == 100)
        client.ends[P] = 20
        await eventually.awaited(lambda: flows.errors)
    assert isinstance(flows.errors[0], TopicTruncatedError)


async def test_what_retention_took_is_counted_and_reading_goes_on(eventually: Eventually) -> None:
    client, flows = FakeClient({P: 100}), FakeFlows()
    client.committed[P], client.first[P], client.at_most = 10, 30, 5
    room = asyncio.Event()

    async def handle(batch: Batch) -> None:
        if batch.records[0].offset == 30:
            await room.wait()

    flows.handle = handle
    async with serving(client, flows, stall_limit_s=60) as member:
        await eventually.awaited(lambda: member.partitions and member.partitions[P].position == 75)
        client.first[P] = 80
        room.set()
        await eventually.awaited(lambda: flows.seen[P] and flows.seen[P][-1] == 99)
    assert flows.seen[P] == [*range(30, 75), *range(80, 100)]
    assert member.counts["lost to retention"] == 20 + 5
    assert not flows.errors


async def test_partitions_are_given_up_in_time_whatever_hangs(eventually: Eventually) -> None:
    """A flow that ignores its cancellation, and a send that is never acknowledged."""
    client, flows = FakeClient({P: 100}), FakeFlows()

    async def hang(batch: Batch) -> None:
        if batch.records[0].offset >= 50:
            await asyncio.Event().wait()

    flows.handle = hang
    async with serving(client, flows, stall_limit_s=60) as member:
        await eventually.awaited(lambda: member.partitions and member.partitions[P].completed == 50)
        member.sends.track(asyncio.get_running_loop().create_future())
        begin = time.monotonic()
        async with asyncio.timeout(5):
            await member.revoked()
        assert time.monotonic() - begin < 0.5 * 1.5, "the group waits for one and a half session timeouts"
        assert not member.partitions
    assert not client.commits


async def test_what_is_in_hand_is_finished_and_committed_before_partitions_go(eventually: Eventually) -> None:
    client, flows = FakeClient({P: 40}), FakeFlows()
    may_finish = asyncio.Event()

    async def handle(batch: Batch) -> None:
        await may_finish.wait()

    flows.handle = handle
    async with serving(client, flows, stall_limit_s=60) as member:
        await eventually.awaited(lambda: flows.handed and member._at_work)
        going = asyncio.create_task(member.revoked())
        await eventually.awaited(lambda: member.leaving)
        may_finish.set()
        await going
    assert client.committed == {P: 40}


async def test_a_late_completion_after_a_rebalance_has_no_effect(eventually: Eventually) -> None:
    client, flows = FakeClient({P: 40}), FakeFlows()
    batches: list[Batch] = []

    async def handle(batch: Batch) -> None:
        batches.append(batch)
        if len(batches) == 1:
            await asyncio.Event().wait()

    flows.handle = handle
    async with serving(client, flows, stall_limit_s=60) as member:
        await eventually.awaited(lambda: batches)
        await member.revoked()
        await member.assigned(client.ends)
        await eventually.awaited(lambda: member.partitions)
        assert not batches[0].still_ours()
        batches[0].complete()
        assert member.partitions[P].completed == 0


async def test_out_of_contact_nothing_is_delivered_until_the_group_answers(eventually: Eventually) -> None:
    client, flows = FakeClient({P: 500}), FakeFlows()

    async def handle(batch: Batch) -> None:
        if not batch.still_ours():
            raise Stale
        if batch.records[0].offset == 100:
            client.in_contact = False
            raise Stale

    flows.handle = handle
    async with serving(client, flows, stall_limit_s=60) as member:
        await eventually.awaited(lambda: not client.in_contact)
        handed, fetches = len(flows.handed), client.fetches
        begin = time.monotonic()
        await eventually.awaited(lambda: time.monotonic() - begin > 0.3)
        assert len(flows.handed) <= handed + 1
        assert client.fetches <= fetches + 1
        flows.handle = flows.finish
        client.in_contact = True
        member._wake()
        await eventually.awaited(lambda: member.partitions[P].completed == 500)
    assert flows.seen[P] == list(range(500))


async def test_a_flow_that_hangs_ends_the_worker(eventually: Eventually) -> None:
    client, flows = FakeClient({P: 10, Q: 10}), FakeFlows()

    async def hang(batch: Batch) -> None:
        if batch.partition == 1:
            await asyncio.Event().wait()

    flows.handle = hang
    async with serving(client, flows) as member:
        await eventually.awaited(lambda: flows.errors)
    assert isinstance(flows.errors[0], StalledError)
    assert member.counts["stalled"] == 1


async def test_a_broker_that_answers_no_fetch_ends_the_worker(eventually: Eventually) -> None:
    client, flows = FakeClient({P: 10}), FakeFlows()

    async def never() -> None:
        await asyncio.Event().wait()

    client.before["fetch"] = never
    async with serving(client, flows):
        await eventually.awaited(lambda: flows.errors)
    assert isinstance(flows.errors[0], StalledError)


async def test_a_flow_that_waits_and_asks_whether_it_must_end_is_not_stuck(eventually: Eventually) -> None:
    client, flows = FakeClient({P: 10}), FakeFlows()
    begin = time.monotonic()

    async def wait(batch: Batch) -> None:
        await eventually.awaited(lambda: batch.must_end() or time.monotonic() - begin > 1.0)

    flows.handle = wait
    async with serving(client, flows):
        await eventually.awaited(lambda: len(flows.seen[P]) == 10)
    assert not flows.errors


async def test_an_error_of_a_task_ends_the_worker(eventually: Eventually) -> None:
    client, flows = FakeClient({P: 10}), FakeFlows()

    async def broken() -> None:
        raise ValueError("nobody expects this")

    client.before["seek"] = broken
    async with serving(client, flows):
        await eventually.awaited(lambda: flows.errors)
    assert "nobody expects this" in str(flows.errors[0])


async def test_nothing_is_committed_after_a_send_that_failed(eventually: Eventually) -> None:
    client, flows = FakeClient({P: 10}), FakeFlows()
    async with serving(client, flows) as member:
        await eventually.awaited(lambda: len(flows.seen[P]) == 10)
        member.sends.fail(PublishError("refused"))
        assert not await member.commit()
    assert not client.commits
    assert isinstance(flows.errors[0], PublishError)


async def test_a_failed_send_ends_the_worker_also_when_there_is_nothing_to_commit(eventually: Eventually) -> None:
    client, flows = FakeClient({P: 0}), FakeFlows()
    async with serving(client, flows) as member:
        await eventually.awaited(lambda: flows.begun)
        member.sends.fail(PublishError("refused"))
        assert not await member.commit()
    assert isinstance(flows.errors[0], PublishError)


async def test_a_backlog_of_one_topic_does_not_delay_another(eventually: Eventually) -> None:
    info, critical = TP("sms-info", 0), TP("sms-critical", 0)
    client, flows = FakeClient({info: 5_000, critical: 0}), FakeFlows(batch_size=1)

    async def handle(batch: Batch) -> None:
        if batch.topic == info.topic:
            await eventually.awaited(batch.must_end)

    flows.handle = handle
    async with serving(client, flows, stall_limit_s=60):
        await eventually.awaited(lambda: len(flows.handed) == 8)
        client.ends[critical] = 1
        await eventually.awaited(lambda: flows.seen[critical] == [0])
        assert len(flows.handed) == 9


async def test_a_seek_by_hand_reads_the_partition_again_and_commits_from_there(eventually: Eventually) -> None:
    client, flows = FakeClient({P: 100}), FakeFlows()
    async with serving(client, flows) as member:
        await eventually.awaited(lambda: len(flows.seen[P]) == 100)
        await member.commit()
        assert member.seek(P, 60)
        await eventually.awaited(lambda: len(flows.seen[P]) == 140)
        assert not member.seek(Q, 0)
    assert flows.seen[P][100:] == list(range(60, 100))
