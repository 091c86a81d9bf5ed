"""The simulation of the engine: a flow that folds the records of each key, and one that passes records on."""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import TYPE_CHECKING, Any

from streams.engine.consumer import each_batch
from streams.engine.timer_rows import Declared
from streams.engine.timers import Timers
from tests.simulation.engine_parts import Stream
from tests.simulation.flow import FIRED, INPUT, LOOSE, LOOSE_OUTPUT, OUTPUT, TABLES, Folding, Passing, Trouble
from tests.simulation.invariants import Invariants
from tests.simulation.partition_log import Unsent

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from tests.simulation.plan import Plan
    from tests.simulation.worker import Worker
    from tests.simulation.world import World

WORK_S = 10.0


class FoldingRun:
    """See `Scenario`."""

    topics: Sequence[str] = (INPUT, LOOSE)
    seekable: Sequence[str] = (INPUT,)
    outputs: Sequence[str] = (OUTPUT.name, LOOSE_OUTPUT.name, FIRED.name)
    tables: Sequence[str] = TABLES

    def __init__(self, world: World, plan: Plan) -> None:
        self._world = world
        self._plan = plan
        self._invariants = Invariants(world, plan)
        self.send_limit_s = plan.send_limit_s
        self.faults: Mapping[str, Callable[[int, float], None]] = {"expire": self._expire, "truncate": self._truncate}
        # Partitions of the loose topic that lost their end, until an operator has reset the group's offsets.
        self._truncated: set[int] = set()

    def parts(self, worker: Worker) -> Sequence[Coroutine[Any, Any, None]]:
        plan, app = self._plan, worker.app
        trouble = Trouble(Random(f"{plan.seed}/{worker.process.name}"), plan.flow_delay_s, plan.stale_one_in)
        timers = Timers(worker.tables["timers"], worker.publish, lambda: int(time.time() * 1000), Declared([FIRED]))
        flow = Folding(worker.publish, worker.tables["states"], timers, trouble)
        passing = Passing(worker.publish, trouble)
        return [
            each_batch(app, Stream(app, INPUT), flow.handle),
            each_batch(app, Stream(app, LOOSE), passing.handle, at_once=3),
            timers.run(),
        ]

    def _expire(self, target: int, size: float) -> None:
        """Retention takes records that nobody may have read yet."""
        log = self._world.broker.log(LOOSE, target % self._plan.partitions)
        committed = self._world.group.committed.get((LOOSE, log.partition), 0)
        before = committed + int((log.end - committed) * size)
        self._invariants.expired |= {(LOOSE, log.partition, offset) for offset in range(log.start, before)}
        log.retain_from(before)

    def _truncate(self, target: int, size: float) -> None:
        """An unclean leader lost what was committed. No record comes until somebody has looked at it."""
        log = self._world.broker.log(LOOSE, target % self._plan.partitions)
        committed = self._world.group.committed.get((LOOSE, log.partition), 0)
        end = int(committed * size)
        if log.start <= end < committed:
            log.truncate(end)
            self._truncated.add(log.partition)

    def look(self) -> None:
        """A worker that refuses says what to do, and an operator does it."""
        committed = self._world.group.committed
        for number in sorted(self._truncated):
            end = self._world.broker.log(LOOSE, number).end
            if committed[LOOSE, number] <= end:
                # Nobody who did not know it has committed what he had read before.
                self._truncated.discard(number)
            elif any(f"{LOOSE}[{number}]" in worker.process.why_ended for worker in self._world.workers):
                committed[LOOSE, number] = end
                self._invariants.reset(LOOSE, number)
                self._world.covered["refused a truncated topic"] += 1

    def heal(self) -> None:
        """Flows go on giving batches back: no fault, but what they may do."""

    def what_is_missing(self) -> str:
        if self._truncated:
            return f"nobody has noticed that {LOOSE}{sorted(self._truncated)} lost their ends"
        return self._invariants.what_is_missing()

    def check(self) -> None:
        self._invariants.check()

    async def produce(self) -> None:
        """The input: of each key so many records, in order, in bursts."""
        plan, rng = self._plan, Random(f"{self._plan.seed}/input")
        left = dict.fromkeys(range(plan.keys), 0)
        total = plan.keys * plan.per_key
        loose = 0
        while left:
            for _ in range(rng.choice((1, 5, 20))):
                if not left:
                    break
                key = rng.choice(list(left))
                log = self._world.broker.log(INPUT, key % plan.partitions)
                log.append([Unsent(b"k%d" % key, b"%d" % left[key])], self._world.broker.now_ms())
                left[key] += 1
                if left[key] == plan.per_key:
                    del left[key]
            while loose < plan.loose * (1 - sum(plan.per_key - n for n in left.values()) / total):
                log = self._world.broker.log(LOOSE, rng.randrange(plan.partitions))
                if log.partition in self._truncated:
                    break
                log.append([Unsent(b"l%d" % loose, b"%d" % loose)], self._world.broker.now_ms())
                loose += 1
            await asyncio.sleep(rng.random() * 10 * WORK_S / total)
