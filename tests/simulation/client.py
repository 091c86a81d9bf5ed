"""`BrokerClient` over the fake broker: one member of the group, in one process.

It holds the engine to the contract as well: two calls that must not overlap, or a fetch before a seek, fail the run.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Any, Self

from aiokafka.errors import CommitFailedError, IllegalStateError, OffsetOutOfRangeError
from faust.types import TP

from streams.engine.broker_client import Fetched, Offsets
from tests.simulation.group import UnknownMember
from tests.simulation.loop import LONGEST_STALL_S
from tests.simulation.partition_log import OffsetOutOfRange
from tests.simulation.processes import check_alive, running

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from tests.simulation.broker import Broker
    from tests.simulation.group import Group

HEARTBEAT_S = 1.0
SLOW_SEEK_ONE_IN = 6
LONGEST_SEEK_S = 0.4


class SimTP(TP):  # type: ignore[misc]
    """Sets of partitions iterate in an order that belongs to the seed, not to this interpreter's string hashes."""

    salt = 0
    _hash: int

    def __new__(cls, topic: str, partition: int) -> Self:
        tp: Self = super().__new__(cls, topic, partition)
        tp._hash = zlib.crc32(b"%d/%d/%s" % (cls.salt, partition, topic.encode()))
        return tp

    def __hash__(self) -> int:
        return self._hash


class ContractBroken(AssertionError):  # noqa: N818
    """The engine called its client in a way that the interface forbids."""


class SimClient:
    """See `streams/engine/broker_client.py`. `joined` is run once per process, beside the engine."""

    def __init__(self, broker: Broker, group: Group, member: str, topics: Collection[str]) -> None:
        self.last_contact = 0.0
        self.generation = 0
        self.is_deaf = False
        self._broker = broker
        self._group = group
        self._member = member
        self._topics = sorted(topics)
        self._assignment: frozenset[TP] = frozenset()
        self._positions: dict[TP, int] = {}
        self._fetching: asyncio.Future[dict[TP, Fetched]] | None = None
        self._commit: asyncio.Future[Any] | None = None
        self._commits = self._committed = 0
        self._calls: set[str] = set()

    def assignment(self) -> frozenset[TP]:
        return self._assignment

    def position(self, tp: TP) -> int:
        """The offset from which the next fetch reads; -1 before the first seek."""
        return self._positions.get(tp, -1)

    async def offsets(self, partitions: Collection[TP], *, limit_s: float) -> Mapping[TP, Offsets]:
        tps = self._ours(partitions)
        logs = {tp: self._broker.log(*tp) for tp in tps}

        def work() -> dict[TP, Offsets]:
            committed = self._group.committed
            return {tp: Offsets(committed.get(tuple(tp)), log.start, log.end) for tp, log in logs.items()}

        def led() -> bool:
            return all(log.has_leader for log in logs.values())

        async with asyncio.timeout(limit_s):
            found: dict[TP, Offsets] = await self._broker.answer(work, led)
        self._ours(partitions)
        return found

    async def seek(self, positions: Mapping[TP, int], *, limit_s: float) -> None:
        self._ours(positions)
        with _Alone(self._calls, "seek", {"seek"}):
            self.interrupt_fetch()
            long = self._broker.rng.random() * SLOW_SEEK_ONE_IN < 1
            await asyncio.sleep(self._broker.rng.random() * (LONGEST_SEEK_S if long else 0.005))
            self._ours(positions)
            for tp in sorted(positions):
                self._positions[tp] = positions[tp]

    async def fetch(self, partitions: Collection[TP], *, max_records: int, wait_s: float) -> Mapping[TP, Fetched]:
        tps = self._ours(partitions)
        if not tps or any(tp not in self._positions for tp in tps):
            raise ContractBroken(f"fetch of {tps} before a seek of each")
        with _Alone(self._calls, "fetch", {"fetch", "seek"}):
            asked = {tp: self._positions[tp] for tp in tps}
            logs = [self._broker.log(*tp) for tp in tps]
            self._fetching = self._broker.poll(logs, lambda: self._read(asked, max_records), wait_s)
            found: dict[TP, Fetched] = await self._fetching
            if not self._assignment.issuperset(tps):
                raise IllegalStateError("the partitions went while they were fetched")
            for tp, fetched in found.items():
                self._positions[tp] = fetched.next_position
            return found

    def _read(self, asked: Mapping[TP, int], max_records: int) -> dict[TP, Fetched]:
        """At the broker. As from several brokers, not every partition that has something comes with each answer."""
        found: dict[TP, Fetched] = {}
        rng = self._broker.rng
        for tp, position in asked.items():
            log = self._broker.log(*tp)
            if not log.has_leader:
                continue
            try:
                records = log.read(position, rng.randint(1, max_records))
            except OffsetOutOfRange as error:
                raise OffsetOutOfRangeError({tp: position}) from error
            at_end = not log.records or not records or records[-1] is log.records[-1]
            behind = log.end if at_end and rng.random() < 0.5 else records[-1].offset + 1 if records else position
            if behind > position and (not found or rng.random() < 0.5):
                found[tp] = Fetched(position, behind, records)
        return found

    def interrupt_fetch(self) -> None:
        if self._fetching is not None and not self._fetching.done():
            self._fetching.set_result({})

    async def commit(self, offsets: Mapping[TP, int], *, limit_s: float) -> bool:
        self._ours(offsets)
        generation = self.generation
        self._commits = number = self._commits + 1

        def work() -> None:
            # Requests of a connection arrive in order: one that a later one has overtaken was on a closed connection.
            if number > self._committed:
                self._committed = number
                self._group.commit(self._member, generation, offsets)

        call = self._broker.answer(work, anyway=True)
        self._commit = asyncio.ensure_future(call)
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.wait({self._commit})
        finally:
            self._commit.cancel()
        if self._commit.cancelled():
            return False
        if isinstance(self._commit.exception(), CommitFailedError):
            return False
        self._commit.result()
        return True

    def abandon_commit(self) -> None:
        if self._commit is not None:
            self._commit.cancel()

    async def keep_alive(self) -> None:
        check_alive()

    def _ours(self, partitions: Collection[TP]) -> list[TP]:
        check_alive()
        if not self._assignment.issuperset(partitions):
            raise IllegalStateError(f"{sorted(set(partitions) - self._assignment)} are not assigned")
        return sorted(partitions)

    async def take_part(
        self, assigned: Callable[[frozenset[TP]], Awaitable[None]], revoked: Callable[[], Awaitable[None]]
    ) -> None:
        """Be a member of the group until the process ends."""
        while True:
            self.generation, numbers = await self._broker.answer(lambda: None) or await self._group.join(self._member)
            self.last_contact = asyncio.get_running_loop().time()
            self._positions.clear()
            self._assignment = frozenset(SimTP(topic, number) for topic in self._topics for number in numbers)
            beating = asyncio.ensure_future(self._beat())
            await assigned(self._assignment)
            await beating
            await self._in_time(revoked())
            self._assignment = frozenset()

    async def _in_time(self, revoked: Awaitable[None]) -> None:
        """Fails the run when the engine keeps the group waiting; what the process was frozen for does not count."""
        loop, process = asyncio.get_running_loop(), running.get()
        frozen_s = process.frozen_s if process is not None else 0.0
        begin = loop.time()
        await revoked
        took_s = loop.time() - begin - ((process.frozen_s if process is not None else 0.0) - frozen_s)
        if took_s > self._group.session_s + LONGEST_STALL_S:
            raise ContractBroken(f"revocation took {took_s:.1f} s, the session timeout is {self._group.session_s:g} s")

    async def _beat(self) -> None:
        """Returns when the group wants everybody to join again."""
        stable = True
        while stable:
            await asyncio.sleep(HEARTBEAT_S)
            sent = asyncio.get_running_loop().time()
            if self.is_deaf:
                continue
            try:
                stable = await self._broker.answer(lambda: self._group.heartbeat(self._member))
            except UnknownMember:
                return
            self.last_contact = sent

    def leave(self) -> None:
        self._group.leave(self._member)


class _Alone:
    """Fails the run when one of `others` is under way."""

    def __init__(self, calls: set[str], name: str, others: set[str]) -> None:
        if calls & others:
            raise ContractBroken(f"{name} while {calls & others} is under way")
        self._calls = calls
        self._name = name

    def __enter__(self) -> None:
        self._calls.add(self._name)

    def __exit__(self, *_: object) -> None:
        self._calls.discard(self._name)
