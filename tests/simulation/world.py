"""One run: machines with workers that are started again when they end, input, faults, and the end that must come."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from streams.engine import freeze_guard
from tests.simulation.broker import Broker
from tests.simulation.client import SimTP
from tests.simulation.engine_parts import Disk
from tests.simulation.faults import RECOVERY_MS, Faults, tombstones_ms
from tests.simulation.group import Group
from tests.simulation.processes import ProcessEnded
from tests.simulation.worker import GuardOfRunning, Worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.simulation.loop import SimLoop
    from tests.simulation.partition_log import PartitionLog
    from tests.simulation.processes import Process
    from tests.simulation.scenario import AnyPlan

RESTART_S = (0.2, 3.0)
LOOK_S = 0.5
# Longer than any answer takes: what is at the broker is in the stores too by then.
QUIET_S = 2.5
MOST_IN_HAND = 64
MAKE_SENDS_FAIL = {"lossy", "leaderless", "cut_off"}
# With less, a few slow answers and a stall are enough.
SHORT_LIMIT_S = 10.0

SEND_FAILED = ("crashed: PublishError", "ended: PublishError")
TRUNCATED = "crashed: TopicTruncatedError"
ENDINGS = ("killed", "terminated", "frozen", TRUNCATED, *SEND_FAILED)


class UnexpectedEnd(AssertionError):  # noqa: N818
    """A worker ended for a reason that none of the faults gives."""


class NoEnd(AssertionError):  # noqa: N818
    """Without any fault the work does not come to an end: something waits for what never comes."""


class World:
    """Everything there is in a run but the loop."""

    def __init__(self, loop: SimLoop, plan: AnyPlan) -> None:
        self.plan = plan
        self.covered: Counter[str] = Counter()
        self.broker = Broker(loop, Random(f"{plan.seed}/broker"), plan.at_once_s)
        self._on_commit: Callable[[tuple[str, int], int], None] | None = None
        self.scenario = plan.scenario(self)
        self.changelogs = [f"{table}-changelog" for table in self.scenario.tables]
        for topic in (*self.scenario.topics, *self.scenario.outputs, *self.changelogs):
            self.broker.create(topic, plan.partitions)
        self.group = Group(self.broker, list(self.scenario.topics), session_s=10.0, rebalance_s=15.0)
        self.group.on_commit = self._on_commit
        SimTP.salt = plan.seed
        keep_ms = tombstones_ms({fault.kind for fault in plan.faults}) - RECOVERY_MS
        self.disks = [Disk(keep_ms) for _ in range(plan.workers)]
        self.workers: list[Worker] = []
        self._guards = GuardOfRunning()
        self._rng = Random(f"{plan.seed}/world")
        self._started = 0
        # New every time: whoever asks for it in a task of a process has that process's guard.
        freeze_guard._guard = self._guards  # type: ignore[assignment]

    def watch(
        self,
        appended: Callable[[PartitionLog, int, Process | None], None],
        committed: Callable[[tuple[str, int], int], None],
        sent: Callable[[Process, str, int], None] | None = None,
    ) -> None:
        """Have these told of what happens at the broker. What they raise ends the run at once: whoever caused it may
        be dead by then, or catch it.
        """

        def told(look: Callable[..., None], *event: Any) -> None:
            try:
                look(*event)
            except AssertionError as broken:
                self.broker.loop.fail(broken)

        self.broker.on_append = partial(told, appended)
        self._on_commit = partial(told, committed)
        if sent is not None:
            self.broker.on_send = partial(told, sent)

    async def run(self) -> None:
        """Raises an AssertionError where an invariant does not hold."""
        self.group.watch()
        self.workers = [self._new_worker(machine) for machine in range(self.plan.workers)]
        faults = Faults(self)
        beside = [
            asyncio.ensure_future(part)
            for part in (self._supervise(), self.scenario.produce(), faults.run(self.plan.faults))
        ]
        await self._beside(beside, asyncio.gather(*beside[1:]))
        faults.heal()
        self.scenario.heal()
        loop = self.broker.loop
        end = loop.time() + self.plan.liveliness_s
        done_since: float | None = None
        while done_since is None or loop.time() - done_since < QUIET_S:
            if loop.time() > end:
                raise NoEnd(self.what_is_missing())
            await self._beside(beside, asyncio.sleep(LOOK_S))
            done_since = (done_since or loop.time()) if not self.what_is_missing() else None
        beside[0].cancel()
        self.covered["old folder dropped"] += sum(disk.dropped for disk in self.disks)
        for worker in self.workers:
            self.covered.update(worker.member.counts)
        self.scenario.check()
        self._check_ends()

    def what_is_missing(self) -> str:
        """Empty when all that was read is committed, everybody rests, and the scenario has come to its end."""
        committed = self.group.committed
        behind = [
            f"{topic}[{log.partition}] {committed.get((topic, log.partition), 0)} of {log.history[-1].offset + 1}"
            for topic in self.scenario.topics
            for log in self.broker.topics[topic]
            if log.records and committed.get((topic, log.partition), 0) <= log.records[-1].offset
        ]
        if behind:
            return f"not committed: {behind}"
        if busy := [worker.process.name for worker in self.workers if not worker.rests()]:
            return f"{busy} still read what is committed"
        return self.scenario.what_is_missing()

    def _check_ends(self) -> None:
        """Nothing is kept for ever, and no task or future of a living process failed without anybody looking."""
        for worker in self.workers:
            if (held := worker.in_hand()) > MOST_IN_HAND:
                raise AssertionError(f"{worker.process.name} still has {held} batches in hand")
        loop = self.broker.loop
        unseen: list[tuple[Any, str, BaseException | None]] = [
            *((task, f"task {task!r}", task.exception()) for task in loop.unseen()),
            *((of.get("future"), of["message"], of.get("exception")) for of in loop.errors),
        ]
        for owner, what, error in unseen:
            process = getattr(owner, "process", None)
            if not isinstance(error, ProcessEnded) and (process is None or process.alive):
                raise AssertionError(f"nobody looked at {what}: {error!r}")

    @staticmethod
    async def _beside(beside: Sequence[asyncio.Future[None]], work: Awaitable[Any]) -> None:
        """Await `work`; what the supervisor raises meanwhile ends the run."""
        await asyncio.wait({asyncio.ensure_future(work), beside[0]}, return_when=asyncio.FIRST_COMPLETED)
        for part in beside:
            if part.done():
                part.result()

    def wake(self, worker: Worker) -> None:
        """The process goes on; its guard looks some time later, where nothing else made it look before."""
        if worker.process.frozen_since is None or not worker.process.alive:
            return
        self.broker.loop.wake(worker.process)
        self.broker.later(self._rng.random() * 0.5, worker.tick)

    def _new_worker(self, machine: int) -> Worker:
        self._started += 1
        name = f"w{machine}.{self._started}"
        worker = Worker(name, self.broker, self.group, self.disks[machine], self.scenario)
        self._guards.guards[worker.process.name] = worker.guard
        worker.start()
        return worker

    async def _supervise(self) -> None:
        """Start a worker again that has ended."""
        while True:
            await asyncio.sleep(self._rng.uniform(*RESTART_S))
            self.scenario.look()
            for machine, worker in enumerate(self.workers):
                if not worker.process.alive:
                    self.broker.loop.note(f"{worker.process.name} is started again; {worker.process.why_ended}")
                    self.covered.update(worker.member.counts)
                    self._look_at_end(worker.process.why_ended)
                    self.workers[machine] = self._new_worker(machine)

    def _look_at_end(self, why: str) -> None:
        """A worker ends on request, when it was frozen, or could not send; anything else is a defect."""
        kind = next((kind for kind in ENDINGS if why.startswith(kind)), None)
        kinds = {fault.kind for fault in self.plan.faults}
        may_fail = bool(kinds & MAKE_SENDS_FAIL) or self.scenario.send_limit_s < SHORT_LIMIT_S
        if kind is None or (kind in SEND_FAILED and not may_fail):
            raise UnexpectedEnd(why)
        if kind == TRUNCATED and "truncate" not in kinds:
            raise UnexpectedEnd(why)
        self.covered[f"worker {kind}"] += 1
