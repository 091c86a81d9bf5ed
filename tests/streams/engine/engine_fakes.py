"""A broker in memory with one member of a group, and flows that a test writes by hand."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka.errors import OffsetOutOfRangeError

from streams.engine.broker_client import Fetched, Offsets
from streams.engine.consumer import Batch, Stale
from streams.engine.group_member import GroupMember
from streams.engine.settings import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from faust.types import TP

    from streams.engine.consumer import Record
    from streams.engine.partition import OffsetRange, Partition


class Rec(NamedTuple):
    offset: int
    topic: str = "readings"
    partition: int = 0
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def run(*offsets: int) -> list[Rec]:
    return [Rec(offset) for offset in offsets]


class FakeClient:
    """Each partition holds the records of `logs`, from `first` on; `gaps` are offsets without a record."""

    def __init__(self, logs: Mapping[TP, int]) -> None:
        self.ends = dict(logs)
        self.first: defaultdict[TP, int] = defaultdict(int)
        self.committed: dict[TP, int] = {}
        self.commits: list[Mapping[TP, int]] = []
        self.positions: dict[TP, int] = {}
        self.gaps: set[int] = set()
        self.at_most = 1_000
        self.in_contact = True
        # What a test puts in the way of a call, by the call's name.
        self.before: dict[str, Callable[[], Awaitable[None]]] = {}
        self.fetches = 0
        self._interrupted = asyncio.Event()

    @property
    def last_contact(self) -> float:
        return time.monotonic() if self.in_contact else float("-inf")

    async def _pass(self, call: str, limit_s: float) -> None:
        if call in self.before:
            async with asyncio.timeout(limit_s):
                await self.before[call]()
        await asyncio.sleep(0)

    def assignment(self) -> frozenset[TP]:
        return frozenset(self.ends)

    async def offsets(self, partitions: Collection[TP], *, limit_s: float) -> Mapping[TP, Offsets]:
        await self._pass("offsets", limit_s)
        return {tp: Offsets(self.committed.get(tp), self.first[tp], self.ends[tp]) for tp in partitions}

    async def seek(self, positions: Mapping[TP, int], *, limit_s: float) -> None:
        await self._pass("seek", limit_s)
        self.positions |= positions

    async def fetch(self, partitions: Collection[TP], *, max_records: int, wait_s: float) -> Mapping[TP, Fetched]:
        self.fetches += 1
        self._interrupted.clear()
        await self._pass("fetch", 10.0)
        if not any(self.positions[tp] != self.ends[tp] for tp in partitions):
            try:
                async with asyncio.timeout(min(wait_s, 0.02)):
                    await self._interrupted.wait()
            except TimeoutError:
                return {}
        found: dict[TP, Fetched] = {}
        for tp in partitions:
            position = self.positions[tp]
            if not self.first[tp] <= position <= self.ends[tp]:
                raise OffsetOutOfRangeError({tp: position})
            end = min(self.ends[tp], position + self.at_most, position + max_records)
            if end > position:
                records = [Rec(at, *tp) for at in range(position, end) if at not in self.gaps]
                found[tp] = Fetched(position, end, records)
                self.positions[tp] = end
        return found

    def interrupt_fetch(self) -> None:
        self._interrupted.set()

    async def commit(self, offsets: Mapping[TP, int], *, limit_s: float) -> bool:
        await self._pass("commit", limit_s)
        self.commits.append(offsets)
        self.committed |= offsets
        return True

    def abandon_commit(self) -> None:
        pass

    async def keep_alive(self) -> None:
        await self._pass("keep_alive", 10.0)


class FakeFlows:
    """Every batch goes to `handle`, one after the other for each partition; what it finishes is in `seen`."""

    def __init__(self, batch_size: int = 50) -> None:
        self.seen: defaultdict[TP, list[int]] = defaultdict(list)
        self.handed: list[tuple[TP, int]] = []
        self.errors: list[BaseException] = []
        self.begun = 0
        self.restored: defaultdict[TP, list[int]] = defaultdict(list)
        self.stored: dict[TP, int] = {}
        self.handle: Callable[[Batch], Awaitable[None]] = self.finish
        self.member: GroupMember
        self._batch_size = batch_size
        self._queues: defaultdict[TP, asyncio.Queue[Batch]] = defaultdict(asyncio.Queue)
        self._tasks: dict[TP, asyncio.Task[None]] = {}

    async def finish(self, batch: Batch) -> None:
        await asyncio.sleep(0)

    def is_changelog(self, topic: str) -> bool:
        return topic.endswith("changelog")

    def batch_size(self, topic: str) -> int:
        return self._batch_size

    def begin(self) -> None:
        self.begun += 1

    def stored_offset(self, tp: TP) -> int | None:
        return self.stored.get(tp)

    def drop(self, tp: TP) -> None:
        del self.stored[tp]

    def restore(self, tp: TP, records: Sequence[Record]) -> None:
        self.restored[tp] += [record.offset for record in records]

    async def failed(self, error: BaseException) -> None:
        self.errors.append(error)

    async def hand_over(self, tp: TP, partition: Partition, taken: OffsetRange, records: Sequence[Record]) -> None:
        message: Any = SimpleNamespace(
            topic=tp.topic, partition=tp.partition, value=records, range=taken, source=partition
        )
        self.handed.append((tp, records[0].offset))
        self._queues[tp].put_nowait(Batch(self.member, message))
        if tp not in self._tasks:
            self._tasks[tp] = asyncio.create_task(self._work(tp))

    async def _work(self, tp: TP) -> None:
        while True:
            batch = await self._queues[tp].get()
            if not batch.still_ours():
                batch.return_batch()
                continue
            with self.member.at_work():
                try:
                    await self.handle(batch)
                except Stale:
                    batch.return_batch()
                else:
                    if batch.still_ours():
                        self.seen[tp] += [record.offset for record in batch.records]
                    batch.complete()

    async def close(self) -> None:
        await self.member.end()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


def settings(**changes: float) -> WorkerSettings:
    """Limits that a test can wait for."""
    limits = {"session_timeout_s": 0.5, "freeze_limit_s": 0.4, "stall_limit_s": 0.3, "send_limit_s": 5.0} | changes
    return WorkerSettings(**limits)  # type: ignore[arg-type]


def member_of(client: FakeClient, flows: FakeFlows, **changes: float) -> GroupMember:
    flows.member = GroupMember(client, flows, settings(**changes))
    return flows.member
