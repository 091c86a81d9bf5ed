"""This worker as a member of its group: what comes and goes with a rebalance, and what is in hand meanwhile.

An assignment is served by one task: restore the tables, place the source partitions, then deliver. The task and its
partitions end with the assignment; nothing of them is delivered or committed in the next one.

Partitions of the same number share a partition of the tables, and so they share an epoch. It changes with every
assignment, and when a batch of one of them is returned: what a flow has cached of its tables is void then.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from streams.engine.bounded import insist, look_at, within
from streams.engine.commits import Commits
from streams.engine.delivery import CALL_LIMIT_S, Delivery, Receivers, report_lost
from streams.engine.freeze_guard import end_if_frozen
from streams.engine.lag_watchdog import LagWatchdog
from streams.engine.partition import Partition
from streams.engine.placement import lost_to_retention, start_of
from streams.engine.publish import PublishError
from streams.engine.recovery import Changelogs, restore
from streams.engine.sends import Sends

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Iterator, Mapping

    from faust.types import TP

    from streams.engine.broker_client import BrokerClient
    from streams.engine.partition import OffsetRange
    from streams.engine.settings import WorkerSettings

log = structlog.get_logger(__name__)

# Shares of the session timeout; a rebalance waits for one and a half of it.
SETTLE_SHARE = 0.5
COMMIT_SHARE = 0.4
END_LIMIT_S = 1.0


class Flows(Changelogs, Receivers, Protocol):
    """What is above the engine: the app's flows and its tables."""

    def is_changelog(self, topic: str) -> bool: ...
    def begin(self) -> None:
        """The partitions are ready: batches follow."""

    async def failed(self, error: BaseException) -> None:
        """Only a new process may go on: end this one."""


class GroupMember:
    """The engine of one worker, over its client and under its flows."""

    def __init__(self, client: BrokerClient, flows: Flows, settings: WorkerSettings) -> None:
        self.client = client
        self.sends = Sends(settings.send_limit_s)
        # What happened, for metrics and tests.
        self.counts: Counter[str] = Counter()
        self.partitions: Mapping[TP, Partition] = {}
        # Changes with every assignment.
        self.epoch = 0
        # Whether partitions are about to go: a flow finishes what it has begun, and returns the rest.
        self.leaving = False
        self._flows = flows
        self._settings = settings
        self._numbers = itertools.count(1)
        self._epochs: dict[int, int] = {}
        self._commits = Commits(client, self.sends, lambda: self.partitions)
        self._delivery: Delivery | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._failing: asyncio.Task[None] | None = None
        self._at_work = 0
        self._idle = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether the partitions of an assignment are ours, and restored."""
        return self._delivery is not None and self.in_contact()

    def in_contact(self) -> bool:
        """Whether the group has heard of us within the time after which it would give our partitions to others."""
        return time.monotonic() - self.client.last_contact < self._settings.session_timeout_s

    def epoch_of(self, number: int) -> int:
        """The epoch of the partitions of this number; 0 while they are not ours."""
        return self._epochs.get(number, 0)

    def serves(self, number: int, epoch: int) -> bool:
        """Whether the partitions of this number have been ours, and restored, since `epoch` began."""
        end_if_frozen()
        return self.ready and self._epochs.get(number) == epoch

    def complete(self, partition: Partition, taken: OffsetRange) -> None:
        """A flow has finished a batch."""
        partition.complete(taken)
        self._wake()

    def return_batch(self, partition: Partition, number: int, taken: OffsetRange) -> None:
        """A flow did not finish a batch: it is read again from what is completed on, unless partitions leave anyway."""
        if not taken.is_assigned:
            return
        self.counts["returned"] += 1
        if self.leaving:
            partition.return_one(taken)
        else:
            self._renew(number)
        self._wake()

    def seek(self, tp: TP, offset: int) -> bool:
        """Read a partition from another offset on. False if it is not ours, or not placed yet."""
        if (partition := self.partitions.get(tp)) is None:
            return False
        partition.seek(offset, self._renew(tp.partition))
        self._wake()
        return True

    def _renew(self, number: int) -> int:
        epoch = self._epochs[number] = next(self._numbers)
        for tp, partition in self.partitions.items():
            if tp.partition == number:
                partition.return_all(epoch)
        return epoch

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """A batch in the hands of a flow, or work beside the flows: it may end before partitions go."""
        self._at_work += 1
        try:
            yield
        finally:
            self._at_work -= 1
            if not self._at_work:
                self._idle.set()

    def _wake(self) -> None:
        if self._delivery is not None:
            self._delivery.news.set()

    async def commit(self) -> bool:
        """Commit what is completed; ends the worker when a send has failed."""
        try:
            return await self._commits.commit(limit_s=self._settings.session_timeout_s * COMMIT_SHARE)
        except PublishError as error:
            log.exception("commit.refused")
            await self._flows.failed(error)
            return False

    async def assigned(self, partitions: Collection[TP]) -> None:
        """All the partitions that are ours from now on. Returns at once; `Flows.begin` tells when they are ready."""
        await self.end()
        self.leaving = False
        self._start(self._serve(partitions))

    async def revoked(self) -> None:
        """The group takes the partitions. Ends within the session timeout, whatever hangs in a flow or a send."""
        await self.settle(self._settings.session_timeout_s * SETTLE_SHARE)
        # A commit that is repeated in the next generation could undo one of the partition's next owner.
        self.client.abandon_commit()
        await self.end()

    async def settle(self, limit_s: float) -> None:
        """Let what is at work finish, and commit: before a rebalance, and before a shutdown."""
        self.leaving = True
        self._wake()
        if not await within(limit_s, self._all_idle(), "what is in hand"):
            log.warning("partitions.unfinished", at_work=self._at_work)
        await within(self._settings.session_timeout_s * COMMIT_SHARE, self.commit(), "the last commit")

    async def _all_idle(self) -> None:
        while self._at_work:
            self._idle.clear()
            await self._idle.wait()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error: BaseException | None
        given_up = task not in self._tasks
        self._tasks.discard(task)
        if task.cancelled():
            error = None if given_up else RuntimeError("what serves the assignment was cancelled from within")
        else:
            error = task.exception()
        if error is not None:
            log.error("worker.ends", why=str(error), error=repr(error), exc_info=error)
            self._failing = asyncio.create_task(self._flows.failed(error))
            look_at(self._failing, "ending the worker")

    async def end(self) -> None:
        """Nothing of the assignment has any effect after this."""
        self.epoch += 1
        for partition in self.partitions.values():
            partition.return_all(next(self._numbers))
        self._epochs.clear()
        self.partitions = {}
        self._delivery = None
        tasks, self._tasks = self._tasks, set()
        if tasks:
            for task in tasks:
                task.cancel()
            _, running = await asyncio.wait(tasks, timeout=END_LIMIT_S)
            if running:
                log.warning("assignment.lingers", tasks=len(running))

    async def _serve(self, tps: Collection[TP]) -> None:
        begin, limit_s = time.monotonic(), self._settings.stall_limit_s
        changelogs = {tp for tp in tps if self._flows.is_changelog(tp.topic)}
        await insist(
            lambda: restore(self.client, self._flows, changelogs, stall_limit_s=limit_s),
            2 * limit_s,
            "restoring the tables",
        )
        restored_s = round(time.monotonic() - begin, 2)
        sources = set(tps) - changelogs
        found = await insist(
            lambda: self.client.offsets(sources, limit_s=CALL_LIMIT_S), 2 * limit_s, "finding the committed offsets"
        )
        self._epochs = {number: next(self._numbers) for number in {tp.partition for tp in tps}}
        placed: dict[TP, Partition] = {}
        for tp, offsets in found.items():
            placed[tp] = Partition(start_of(tp, offsets), offsets.committed, self._epochs[tp.partition])
            report_lost(tp, lost_to_retention(offsets), self.counts)
        self.partitions = placed
        self._delivery = Delivery(
            self.client, placed, self._flows, self._may_deliver, self.counts, self._settings.queued_batches
        )
        self._flows.begin()
        log.info("partitions.ready", partitions=len(placed), tables=len(changelogs), restored_s=restored_s)
        if placed:
            self._start(LagWatchdog(self.client, placed, limit_s, self.counts).run())
        await self._delivery.run()

    def _may_deliver(self) -> bool:
        """Out of contact a flow would only return what it gets, again and again."""
        return not self.leaving and self.in_contact()
