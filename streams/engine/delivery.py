"""The loop that fetches records and hands them to the flows, a batch of one partition at a time, topic beside topic."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import structlog

from streams.engine.committing import Committing
from streams.engine.membership import BatchMessage, Held
from streams.engine.placement import Fetch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faust.types import TP

    from streams.engine.consumer import Record

log = structlog.get_logger(__name__)

FETCH_LIMIT_S = 1.0
RESTORE_AT_ONCE = 5_000


class StreamConsumer(Committing):
    """The consumer of an app; see `membership.py` for its layers."""

    async def _drain_messages(self, fetcher: Any) -> None:  # noqa: ANN401 - Faust ships no types
        """Faust's fetcher runs this while the worker lives; it is cancelled and started anew at will."""
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):  # noqa: SLF001
                self._news.clear()
                if self.flow_active and await self._step():
                    await asyncio.sleep(0)
                    continue
                await self._wait_for_news()
        except (*self.consumer_stopped_errors, asyncio.CancelledError):
            if not self.app.should_stop:
                raise
        except Exception:
            log.exception("delivery.failed")
            raise

    async def _step(self) -> bool:
        """Deliver a batch of every partition that has one; False when there was nothing to do."""
        self._take_fetched()
        await self._seek_back()
        delivered = False
        for tp in list(self._held):
            if tp in self._held and self.flow_active:
                delivered |= await self._deliver_one(tp, self._held[tp])
        self._start_fetch()
        return delivered

    async def _wait_for_news(self) -> None:
        """A fetch is through, a topic has room again, the flow was stopped or resumed: or a second has passed."""
        try:
            async with asyncio.timeout(FETCH_LIMIT_S):
                await self._news.wait()
        except TimeoutError:
            if self._fetch is None and self.flow_active:
                await self._thread.touch()

    def _wanted(self) -> set[TP]:
        return {
            tp
            for tp in self._get_active_partitions()
            if tp not in self._held
            and (
                self._is_changelog_tp(tp)
                or (self._ready and (partition := self.partitions.get(tp)) is not None and not partition.must_seek)
            )
        }

    def _start_fetch(self) -> None:
        """Fetch for every partition of which nothing is held; a fetch that lacks one of them is ended first."""
        if self._moving.locked() or not self.flow_active:
            return
        wanted = self._wanted()
        if self._fetch is not None:
            if not wanted <= self._fetch.positions.keys():
                self._thread.interrupt_fetch()
            return
        if not wanted:
            return
        # A task of its own, so that it goes on when this loop is cancelled: what it takes from aiokafka is kept.
        task = asyncio.ensure_future(self._thread.fetch(wanted, FETCH_LIMIT_S))
        task.add_done_callback(lambda _: self._news.set())
        self._fetch = Fetch(task, self.epoch, {tp: self._positions[tp] for tp in wanted})

    async def _deliver_one(self, tp: TP, held: Held) -> bool:
        """Hand the next batch of a partition over. Whatever interrupts it, nothing that it holds is skipped."""
        if self._is_changelog_tp(tp):
            delivered = await self._restore(tp, held)
        elif (partition := self.partitions.get(tp)) is None or not self._ready:
            self._held.pop(tp, None)
            return False
        elif partition.must_seek:
            # A batch came back since this was fetched: what is held does not follow the next offset.
            self._held.pop(tp, None)
            return False
        elif not self.room.has_room(tp.topic):
            return False
        else:
            size = self.app.batch_sizes.get(tp.topic, 1)
            records = partition.admit(held.records[held.index : held.index + size])
            held.index += size
            delivered = bool(records)
            if partition.must_seek:
                self.counts["gap"] += 1
            if records:
                await self._hand_over(tp, records)
        if held.index >= len(held.records) and self._held.get(tp) is held:
            del self._held[tp]
        return delivered

    async def _hand_over(self, tp: TP, records: Sequence[Record]) -> None:
        partition = self.partitions[tp]
        message = self._batch_message(tp, records)
        message.claim = span = partition.hand_over(records)
        self._in_hand[span] = message
        self.room.took(tp.topic)
        taken = False
        try:
            await self.callback(message)
            taken = True
        finally:
            if not taken and self.partitions.get(tp) is partition:
                self._give_back(tp, span)

    def _batch_message(self, tp: TP, records: Sequence[Record]) -> BatchMessage:
        first = records[0]
        return BatchMessage(
            tp.topic,
            tp.partition,
            first.offset,
            first.timestamp / 1000,
            0,
            None,
            first.key,
            records,
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _restore(self, tp: TP, held: Held) -> bool:
        """Recovery: apply a run of changelog records at once, then tell Faust where it is."""
        recovery = self.app.tables.recovery
        if tp not in recovery.active_tps:
            held.index = len(held.records)
            return False
        run = held.records[held.index : held.index + RESTORE_AT_ONCE]
        held.index += len(run)
        seen = recovery.active_offsets.get(tp)
        new = [record for record in run if seen is None or record.offset > seen]
        if new:
            recovery.tp_to_table[tp].restore(tp, new)
            recovery.active_offsets[tp] = new[-1].offset
        recovery._active_events_received_at[tp] = time.monotonic()  # noqa: SLF001 - Faust warns of silence
        # Faust skips this one as known, and looks whether recovery is complete.
        await self.callback(self._to_message(tp, run[-1]))
        await asyncio.sleep(0)
        return True
