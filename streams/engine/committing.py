"""Commits: strictly in order, never past unfinished work, never before what follows from it is at the broker."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import structlog
from mode.utils.futures import notify

from streams.engine.membership import BatchMessage
from streams.engine.placement import Placement
from streams.engine.publish import PublishError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faust.types import TP

    from streams.engine.commit_log import Span

log = structlog.get_logger(__name__)

# Shorter than the time that a rebalance waits for the last commit.
COMMIT_LIMIT_S = 4.0
SETTLE_LIMIT_S = 5.0
LOOK_AGAIN_S = 0.5


class Committing(Placement):
    """Stock Faust throws its acknowledgements away before the last commit, and commits over failed sends."""

    def begin(self, message: Any) -> None:  # noqa: ANN401 - Faust ships no types
        """A flow takes the batch: from here on an acknowledgement means that it is finished."""
        if isinstance(message, BatchMessage):
            message.claim.begun = True

    def ack(self, message: Any) -> bool:  # noqa: ANN401
        """A batch is finished, or was skipped by Faust, which acknowledges that too: then it is read again."""
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        if not isinstance(message, BatchMessage):
            return False
        if not message.claim.begun:
            self._give_back(message.tp, message.claim)
            return False
        finished = self.partitions[message.tp].log.finish(message.claim) if message.tp in self.partitions else False
        if self._in_hand.pop(message.claim, None) is not None and self.room.freed(message.topic):
            self._news.set()
        self._freed.set()
        notify(self._waiting_for_ack)
        return finished

    def hand_back(self, message: Any) -> None:  # noqa: ANN401
        """A flow gave the batch up: if it is still ours, it is read again, and all after it.

        What the flow has cached may be ahead of its tables then, so a new epoch begins. Where partitions are leaving
        one begins anyway, and other batches in hand may finish before it.
        """
        if isinstance(message, BatchMessage) and not message.acked:
            self._give_back(message.tp, message.claim)
            if not self.leaving:
                self.epoch += 1

    def _give_back(self, tp: TP, span: Span) -> None:
        partition = self.partitions.get(tp)
        for void in partition.give_back(span) if partition is not None else ():
            self.counts["given back"] += 1
            message = self._in_hand.pop(void, None)
            if message is not None:
                self._void(message)
                self.room.freed(tp.topic)
        self._news.set()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Before the group moves on: stop the flow, let the batch in hand finish, commit."""
        if revoked:
            self.stop_flow()
            self.app.flow_control.suspend()
            # What no flow has taken yet is read again, here or elsewhere.
            self.app.flow_control.clear()
            try:
                async with asyncio.timeout(SETTLE_LIMIT_S):
                    await self.settle()
            except TimeoutError:
                log.warning("rebalance.unfinished", batches=len(self._unacked_messages), limit_s=SETTLE_LIMIT_S)
        # A commit that is tried again in the next generation could undo one of the partition's next owner.
        self._thread.abandon_commit()
        self.void_all()
        await super().on_partitions_revoked(revoked)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Work beside the flows, such as that of timers: like a batch in hand, it is waited for."""
        self._beside_flows += 1
        try:
            yield
        finally:
            self._beside_flows -= 1
            self._freed.set()

    async def settle(self) -> None:
        """Wait for what is in hand and commit. Returns also when the commit was refused."""
        while not self.app.crashed and (
            self._beside_flows or any(not message.acked for message in list(self._unacked_messages))
        ):
            self._freed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await self._freed.wait()
        while await self.maybe_wait_for_commit_to_finish():
            pass
        await self.commit()

    async def wait_empty(self) -> None:
        """Shutdown: as before a rebalance, with more time."""
        limit_s = self.settings.drain_limit_s * 2 / 3
        try:
            async with asyncio.timeout(limit_s):
                await self.settle()
        except TimeoutError:
            log.warning("shutdown.unfinished", batches=len(self._unacked_messages), limit_s=limit_s)

    async def on_stop(self) -> None:
        """The last commit; after it this worker leaves the group, and what still runs here has no say any more."""
        await super().on_stop()
        self.void_all()

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ANN401, FBT001, FBT002
        """Commit what is finished. A send that failed, or hangs, ends the worker instead."""
        del start_new_transaction
        epoch = self.epoch
        offsets: dict[TP, int] = {
            tp: offset
            for tp, partition in self.partitions.items()
            if (topics is None or tp in topics or tp.topic in topics)
            and (offset := partition.log.committable()) is not None
        }
        try:
            # Also without offsets: a failed send must not go unnoticed until the next batch.
            self.sends.check()
            if not offsets:
                return False
            await self.sends.all_through()
        except PublishError as error:
            log.exception("commit.refused")
            await self.app.crash(error)
            return False
        if epoch != self.epoch or not await self._thread.commit_now(offsets, COMMIT_LIMIT_S):
            return False
        if epoch == self.epoch:
            for tp, offset in offsets.items():
                self.partitions[tp].log.committed(offset)
        return True
