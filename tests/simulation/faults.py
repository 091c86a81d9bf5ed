"""What can go wrong in a run, and how it is set right again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tests.simulation.scenario import Fault
    from tests.simulation.world import World

LONGEST_FREEZE_S = 20.0
# Long enough for others to take over, as a rule.
CUT_S = (7.0, 20.0)
LONGEST_SECOND_SEEK_S = 0.3
# Restoring a table takes less where nothing slows the brokers down.
RECOVERY_MS = 3_000
TOMBSTONES_MS = 7_000
SLOW = {"leaderless", "slow", "lossy", "cut_off", "freeze"}
LATE_SENDS = {"cut_off", "freeze", "deaf", "kill", "wipe", "leaderless", "lossy", "slow"}


def tombstones_ms(kinds: Collection[str]) -> int:
    """How long changelogs keep deletions. A data folder that may miss some must not be used any more then."""
    return TOMBSTONES_MS if "compact" in kinds and SLOW.isdisjoint(kinds) else 600_000


class Faults:
    """Each method is a kind of fault; `heal` ends all that last."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def run(self, faults: Sequence[Fault]) -> None:
        """At their times, each beside the others."""
        loop = self._world.broker.loop
        begin = loop.time()
        for fault in faults:
            await asyncio.sleep(max(0.0, begin + fault.at_s - loop.time()))
            loop.note(f"fault {fault.kind} {fault.target} {fault.size}")
            self._world.covered[f"fault {fault.kind}"] += 1
            own = self._world.scenario.faults.get(fault.kind)
            (own or getattr(self, fault.kind))(fault.target, fault.size)

    def heal(self) -> None:
        world = self._world
        world.broker.weather.__init__()  # type: ignore[misc]
        for logs in world.broker.topics.values():
            for log in logs:
                log.has_leader = True
        for worker in world.workers:
            world.wake(worker)
            worker.client.is_deaf = False
            worker.process.cut_off_until = 0.0

    def kill(self, target: int, size: float) -> None:
        self._world.workers[target % len(self._world.workers)].process.end("killed")

    def terminate(self, target: int, size: float) -> None:
        self._world.workers[target % len(self._world.workers)].terminate()

    def freeze(self, target: int, size: float) -> None:
        world = self._world
        worker = world.workers[target % len(world.workers)]
        worker.process.freeze(world.broker.loop.time())
        world.broker.later(size * LONGEST_FREEZE_S, world.wake, worker)

    def rebalance(self, target: int, size: float) -> None:
        self._world.group.rebalance("partitions were moved")

    def leaderless(self, target: int, size: float) -> None:
        topics = sorted(self._world.broker.topics)
        logs = self._world.broker.topics[topics[target % len(topics)]]
        log = logs[int(size * 1_000) % len(logs)]
        log.has_leader = False
        self._world.broker.later(size * 40.0, lambda: setattr(log, "has_leader", True))

    def cut_off(self, target: int, size: float) -> None:
        """What a worker sends stays in the network for a while, and arrives when others have its partitions."""
        world = self._world
        process = world.workers[target % len(world.workers)].process
        process.cut_off_until = max(
            process.cut_off_until, world.broker.loop.time() + CUT_S[0] + size * (CUT_S[1] - CUT_S[0])
        )

    def slow(self, target: int, size: float) -> None:
        weather = self._world.broker.weather
        weather.slow_one_in = 4
        self._world.broker.later(size * 10.0, lambda: setattr(weather, "slow_one_in", 50))

    def lossy(self, target: int, size: float) -> None:
        """Requests and answers are lost: sends fail, and some of them have arrived."""
        weather = self._world.broker.weather
        weather.lost_request_one_in = weather.lost_answer_one_in = 20

        def end() -> None:
            weather.lost_request_one_in = weather.lost_answer_one_in = 0

        self._world.broker.later(size * 5.0, end)

    def compact(self, target: int, size: float) -> None:
        """The cleaner. It spares what is younger than the latest send of a frozen worker can be, an hour for real."""
        now, kinds = self._world.broker.now_ms(), {fault.kind for fault in self._world.plan.faults}
        lag_ms = 25_000 if kinds & LATE_SENDS else 1_000
        for changelog in self._world.changelogs:
            for log in self._world.broker.topics[changelog]:
                self._world.covered["compacted"] += log.compact(now - lag_ms, now - tombstones_ms(kinds))

    def marker(self, target: int, size: float) -> None:
        """A producer's transaction ends: an offset that no consumer sees."""
        topics = (*self._world.scenario.seekable, *self._world.changelogs)
        logs = self._world.broker.topics[topics[target % len(topics)]]
        logs[target % len(logs)].end_transaction()

    def retain(self, target: int, size: float) -> None:
        """Retention takes what every table has long taken in."""
        for (topic, number), offset in self._world.group.committed.items():
            self._world.broker.log(topic, number).retain_from(int(offset * size))

    def deaf(self, target: int, size: float) -> None:
        """A worker reaches the brokers, but not its coordinator: the group goes on without it, and it is not told."""
        world = self._world
        client = world.workers[target % len(world.workers)].client
        client.is_deaf = True
        world.broker.later(size * 25.0, lambda: setattr(client, "is_deaf", False))

    def seek(self, target: int, size: float) -> None:
        """A flow reads again from an earlier offset, as the recorder does when its database lost the last rows.

        Soon after it reads again from another one, perhaps before the client has sought the first.
        """
        self._seek(target, size)
        self._world.broker.later(size * 7 % LONGEST_SECOND_SEEK_S, self._seek, target, size / 2)

    def _seek(self, target: int, size: float) -> None:
        world = self._world
        worker = world.workers[target % len(world.workers)]
        for tp, partition in sorted(worker.member.partitions.items()) if worker.runs else ():
            if tp.topic in world.scenario.seekable:
                worker.seek(tp, max(world.broker.log(*tp).start, int(partition.completed * size)))

    def wipe(self, target: int, size: float) -> None:
        """A machine loses its disk; the worker on it is killed."""
        self.kill(target, size)
        disk = self._world.disks[target % len(self._world.disks)]
        disk.values.clear()
        disk.offsets.clear()

    def clock(self, target: int, size: float) -> None:
        """A machine's wall clock is set forward or back, by up to 2 s."""
        worker = self._world.workers[target % len(self._world.workers)]
        worker.process.clock_step_s += size * 4 - 2
