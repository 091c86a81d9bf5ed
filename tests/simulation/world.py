"""One run: machines with workers that are started again when they end, input, faults, and the end that must come."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

from streams.engine import freeze_guard
from tests.simulation.broker import Broker
from tests.simulation.client import SimTP
from tests.simulation.engine_parts import Disk
from tests.simulation.faults import Faults
from tests.simulation.flow import FIRED, INPUT, LOOSE, LOOSE_OUTPUT, OUTPUT, TABLES, Trouble
from tests.simulation.group import Group
from tests.simulation.invariants import Invariants
from tests.simulation.partition_log import Unsent
from tests.simulation.plan import WORK_S
from tests.simulation.worker import GuardOfRunning, Worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from tests.simulation.loop import SimLoop
    from tests.simulation.plan import Plan

RESTART_S = (0.2, 3.0)
LOOK_S = 0.5
# Longer than any answer takes: what is at the broker is in the stores too by then.
QUIET_S = 2.5
# Faults are over by then. A worker whose session has to run out first, and a send that waits its 30 s, fit in.
LIVELINESS_S = 180.0


SEND_FAILED = ("crashed: PublishError", "ended: PublishError")
ENDINGS = ("killed", "terminated", "frozen", *SEND_FAILED)


class UnexpectedEnd(AssertionError):  # noqa: N818
    """A worker ended for a reason that none of the faults gives."""


class NoEnd(AssertionError):  # noqa: N818
    """Without any fault the work does not come to an end: something waits for what never comes."""


class World:
    """Everything there is in a run but the loop."""

    def __init__(self, loop: SimLoop, plan: Plan) -> None:
        self.plan = plan
        self.covered: Counter[str] = Counter()
        self.broker = Broker(loop, Random(f"{plan.seed}/broker"), plan.at_once_s)
        for topic in (INPUT, LOOSE, OUTPUT, LOOSE_OUTPUT, FIRED, *(f"{table}-changelog" for table in TABLES)):
            self.broker.create(topic, plan.partitions)
        self.group = Group(self.broker, [INPUT, LOOSE], session_s=10.0, rebalance_s=15.0)
        SimTP.salt = plan.seed
        self.invariants = Invariants(self)
        self.disks = [Disk() for _ in range(plan.workers)]
        self.workers: list[Worker] = []
        self._guards = GuardOfRunning()
        self._rng = Random(f"{plan.seed}/world")
        self._started = 0
        # New every time: whoever asks for it in a task of a process has that process's guard.
        freeze_guard._guard = self._guards  # type: ignore[assignment]

    async def run(self) -> None:
        """Raises an AssertionError where an invariant does not hold."""
        self.group.watch()
        self.workers = [self._new_worker(machine) for machine in range(self.plan.workers)]
        faults = Faults(self)
        beside = [
            asyncio.ensure_future(part) for part in (self._supervise(), self._produce(), faults.run(self.plan.faults))
        ]
        await self._beside(beside, asyncio.gather(*beside[1:]))
        faults.heal()
        loop = self.broker.loop
        end = loop.time() + LIVELINESS_S
        done_since: float | None = None
        while done_since is None or loop.time() - done_since < QUIET_S:
            if loop.time() > end:
                raise NoEnd(self.invariants.what_is_missing())
            await self._beside(beside, asyncio.sleep(LOOK_S))
            done_since = (done_since or loop.time()) if self.invariants.finished() else None
        beside[0].cancel()
        for worker in self.workers:
            self.covered.update(worker.member.counts)
        self.invariants.check()

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
        trouble = Trouble(Random(f"{self.plan.seed}/{name}"), self.plan.flow_delay_s, self.plan.stale_one_in)
        worker = Worker(name, self.broker, self.group, self.disks[machine], trouble)
        self._guards.guards[worker.process.name] = worker.guard
        worker.start()
        return worker

    async def _supervise(self) -> None:
        """Start a worker again that has ended."""
        while True:
            await asyncio.sleep(self._rng.uniform(*RESTART_S))
            for machine, worker in enumerate(self.workers):
                if not worker.process.alive:
                    self.broker.loop.note(f"{worker.process.name} is started again; {worker.process.why_ended}")
                    self.covered.update(worker.member.counts)
                    self._look_at_end(worker.process.why_ended)
                    self.workers[machine] = self._new_worker(machine)

    def _look_at_end(self, why: str) -> None:
        """A worker ends on request, when it was frozen, or could not send; anything else is a defect."""
        kind = next((kind for kind in ENDINGS if why.startswith(kind)), None)
        if kind is None or (kind in SEND_FAILED and not self._sends_may_fail()):
            raise UnexpectedEnd(why)
        self.covered[f"worker {kind}"] += 1

    def _sends_may_fail(self) -> bool:
        return any(fault.kind in {"lossy", "leaderless"} for fault in self.plan.faults)

    async def _produce(self) -> None:
        """The input: of each key so many records, in order, in bursts."""
        plan, rng = self.plan, Random(f"{self.plan.seed}/input")
        left = dict.fromkeys(range(plan.keys), 0)
        total = plan.keys * plan.per_key
        loose = 0
        while left:
            for _ in range(rng.choice((1, 5, 20))):
                if not left:
                    break
                key = rng.choice(list(left))
                log = self.broker.log(INPUT, key % plan.partitions)
                log.append([Unsent(b"k%d" % key, b"%d" % left[key])], self.broker.now_ms())
                left[key] += 1
                if left[key] == plan.per_key:
                    del left[key]
            while loose < plan.loose * (1 - sum(plan.per_key - n for n in left.values()) / total):
                log = self.broker.log(LOOSE, rng.randrange(plan.partitions))
                log.append([Unsent(b"l%d" % loose, b"%d" % loose)], self.broker.now_ms())
                loose += 1
            await asyncio.sleep(rng.random() * 10 * WORK_S / total)
