"""A worker process: the engine's parts put together around a client of the fake broker."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import TYPE_CHECKING

from streams.engine import freeze_guard
from streams.engine.group_member import GroupMember
from streams.engine.publish import publish
from tests.simulation.client import SimClient
from tests.simulation.engine_parts import SimApp, SimTable
from tests.simulation.processes import Process, ProcessEnded, running
from tests.simulation.producer import SimProducer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faust.types import TP

    from streams.engine.publish import Outgoing
    from tests.simulation.broker import Broker
    from tests.simulation.engine_parts import Disk
    from tests.simulation.group import Group
    from tests.simulation.scenario import Scenario

SETTINGS = SimpleNamespace(
    session_timeout_s=10.0,
    freeze_limit_s=8.0,
    commit_interval_s=1.0,
    stall_limit_s=60.0,
    drain_limit_s=30.0,
    queued_batches=2,
    topic=str,
)
MAX_BATCH = 12


class Worker:
    """One process of one machine, from its start to its end."""

    def __init__(self, name: str, broker: Broker, group: Group, disk: Disk, scenario: Scenario) -> None:
        self._scenario = scenario
        tables = scenario.tables
        settings = SimpleNamespace(**vars(SETTINGS), send_limit_s=scenario.send_limit_s)
        self.process = Process(name)
        self.client = SimClient(broker, group, name, [*group.topics, *(f"{table}-changelog" for table in tables)])
        self.app = SimApp(settings, SimProducer(broker, settings.send_limit_s), group.topics, MAX_BATCH)
        count = len(broker.topics[group.topics[0]])
        self.tables = self.app.tables = {
            table: SimTable(self.app, table, disk, count, broker.now_ms) for table in tables
        }
        self.member = GroupMember(self.client, self.app, settings)  # type: ignore[arg-type]
        self.app.consumer = SimpleNamespace(member=self.member)
        self.guard = guard_of(self.process)

    def start(self) -> None:
        """Everything that it starts runs in its process."""
        token = running.set(self.process)
        asyncio.ensure_future(self._run())  # noqa: RUF006 - the process keeps it
        running.reset(token)

    async def _run(self) -> None:
        parts = [
            self.client.take_part(self._assigned, self._revoked),
            *self._scenario.parts(self),
            self._commit_often(),
        ]
        done, _ = await asyncio.wait([asyncio.ensure_future(part) for part in parts], return_when="FIRST_COMPLETED")
        error = next(iter(done)).exception()
        self.process.end(f"ended: {error!r}")
        if error is not None and not isinstance(error, ProcessEnded):
            raise error

    async def publish(self, records: Sequence[Outgoing]) -> None:
        await publish(self.app, records)

    async def _commit_often(self) -> None:
        while True:
            await asyncio.sleep(SETTINGS.commit_interval_s)
            await self.member.commit()

    async def _assigned(self, partitions: frozenset[TP]) -> None:
        self.app.assigned = partitions
        for table in self.tables.values():
            for number in {tp.partition for tp in partitions}:
                table.store.drop_old(number)
            await table.on_rebalance(set(partitions), set(), set(partitions))
        await self.member.assigned(partitions)

    async def _revoked(self) -> None:
        """What Faust's consumer does around the engine's part of it."""
        self.member.leaving = True
        self.app.queues.suspend()
        # What no flow has taken yet is read again, here or elsewhere.
        self.app.queues.clear()
        await self.member.revoked()
        self.app.assigned = frozenset()

    def terminate(self) -> None:
        """SIGTERM: settle, commit, leave the group."""
        token = running.set(self.process)
        asyncio.ensure_future(self._stop())  # noqa: RUF006
        running.reset(token)

    async def _stop(self) -> None:
        try:
            self.member.leaving = True
            await self.member.settle(SETTINGS.drain_limit_s * 2 / 3)
            await self.member.end()
        finally:
            self.client.leave()
            self.process.end("terminated")

    @property
    def runs(self) -> bool:
        return self.process.alive and self.process.frozen_since is None

    def seek(self, tp: TP, offset: int) -> None:
        token = running.set(self.process)
        self.member.seek(tp, offset)
        running.reset(token)

    def tick(self) -> None:
        """The guard's own look, after the process was frozen."""
        if self.runs:
            with contextlib.suppress(ProcessEnded):
                self.guard.tick()

    def rows(self, table: str) -> dict[int, list[tuple[bytes, bytes]]]:
        """Of the partitions that it serves at this moment: what a flow reads, or the store has, where all is stored."""
        if not self.process.alive:
            return {}
        rows, all_stored = self.tables[table], not len(self.member.sends)
        return {
            slot.partition: list(rows.store.scan(slot.partition) if all_stored else rows.scan(slot))
            for slot in rows.owned()
        }

    def rests(self) -> bool:
        """Whether it has completed all that it has fetched, and is not about to fetch something again."""
        return all(p.rests and not p.must_seek for p in self.member.partitions.values())

    def in_hand(self) -> int:
        return sum(partition.in_hand for partition in self.member.partitions.values())


def guard_of(process: Process) -> freeze_guard.FreezeGuard:
    """The engine's guard, on a clock that advances only while the process is frozen: a look at it needs no ticks."""

    def end(pause_s: float) -> None:
        process.end(f"frozen for {pause_s:.1f} s")
        raise ProcessEnded(process.name)

    return freeze_guard.FreezeGuard(SETTINGS.freeze_limit_s, lambda: (process.frozen_s,), end)


class GuardOfRunning:
    """Stands where the engine keeps its guard: there is one for each process."""

    def __init__(self) -> None:
        self.guards: dict[str, freeze_guard.FreezeGuard] = {}

    def check(self) -> None:
        process = running.get()
        if process is not None:
            self.guards[process.name].check()
