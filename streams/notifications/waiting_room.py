"""First stage: where the lanes' messages wait for their turn, critical first, then round by organization."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from domain.notification.lanes import FairQueue
from schemas import messages as m
from streams.engine.consumer import Stale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from domain.notification.lanes import Turn
    from streams.engine.consumer import Batch
    from streams.notifications.job import Job

IDLE_S = 0.1


class WaitingRoom:
    """Holds the jobs of the batches in hand; a user has one of them under way at a time."""

    def __init__(self, watch: Callable[[Iterable[Job]], None]) -> None:
        """`watch` hears of all that comes."""
        self._watch = watch
        self._queue: FairQueue[Job] = FairQueue()
        self._batches: set[Batch] = set()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._queue)

    def waiting(self) -> dict[m.Severity, int]:
        """Messages that were read and wait for their turn, by lane."""
        return {lane: self._queue.waiting(lane) for lane in m.SEVERITIES}

    def enter(self, batch: Batch, jobs: Sequence[Job]) -> None:
        self._batches.add(batch)
        self._watch(jobs)
        for job in jobs:
            self._add(job)
        self._changed.set()

    def leave(self, batch: Batch) -> None:
        """Every job of the batch is settled."""
        self._batches.discard(batch)

    def next(self) -> Turn[Job] | None:
        """Whose turn it is; None while everybody who waits has a message under way. Say `done` or `again` after it."""
        return self._queue.take()

    def done(self, turn: Turn[Job]) -> None:
        """The message is settled, so the user's next one may have its turn."""
        self._queue.done(turn.user_id)
        self._changed.set()

    def again(self, turn: Turn[Job]) -> None:
        """The message must wait for another turn."""
        self._queue.done(turn.user_id)
        self._add(turn.item)
        self._changed.set()

    async def change(self) -> None:
        """Returns when something came or was settled, or after a moment."""
        self._changed.clear()
        try:
            async with asyncio.timeout(IDLE_S):
                await self._changed.wait()
        except TimeoutError:
            return

    def give_back(self) -> None:
        """Settle what was not tried of partitions that are going as Stale: the next owner sends it."""
        if not self._queue or all(batch.still_ours() and not batch.must_end() for batch in self._batches):
            return
        for job in list(self._queue.drain()):
            if job.is_wanted:
                self._add(job)
            else:
                job.settle(Stale())

    def _add(self, job: Job) -> None:
        self._queue.add(job, job.request.severity, job.request.organization_id, job.request.user_id)
