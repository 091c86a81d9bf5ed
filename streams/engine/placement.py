"""Positions: a source partition is sought before anything of it is delivered, and never while a fetch is under way."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka.errors import IllegalStateError
from faust.types import TP

from streams.engine.membership import Held, Membership
from streams.engine.partition import SourcePartition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from streams.engine.consumer import Record

log = structlog.get_logger(__name__)


class TopicTruncatedError(RuntimeError):
    """More was committed than the topic holds: it was made anew, or lost its end."""


class Fetch:
    """A fetch under way; its records are void for a partition whose position has changed since."""

    __slots__ = ("epoch", "positions", "task")

    def __init__(self, task: asyncio.Task[dict[TP, list[Record]]], epoch: int, positions: Mapping[TP, int]) -> None:
        self.task = task
        self.epoch = epoch
        self.positions = positions


class Placement(Membership):
    """Stock Faust resumes partitions before it seeks them, and skips what it fetches in between."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Faust ships no types
        super().__init__(*args, **kwargs)
        # Held by whoever changes positions; no fetch starts meanwhile.
        self._moving = asyncio.Lock()
        self._fetch: Fetch | None = None

    async def _end_fetch(self) -> None:
        """No fetch is under way after this; what it brought is kept where it is still wanted."""
        if self._fetch is not None:
            if not self._fetch.task.done():
                self._thread.interrupt_fetch()
                await asyncio.wait([self._fetch.task])
            self._take_fetched()

    def _take_fetched(self) -> None:
        """Keep the records of a fetch that is through. Raises what the fetch raised."""
        fetch = self._fetch
        if fetch is None or not fetch.task.done():
            return
        self._fetch = None
        for key, records in fetch.task.result().items():
            tp = TP(key.topic, key.partition)
            if self.epoch == fetch.epoch and self._positions[tp] == fetch.positions.get(tp):
                self._held[tp] = Held(records)
            else:
                self.counts["void"] += len(records)
                if (partition := self.partitions.get(tp)) is not None:
                    partition.must_seek = True

    def _forget_fetched(self, tps: Iterable[TP]) -> None:
        """The position changes: what was fetched from the former one is void."""
        for tp in tps:
            self._positions[tp] += 1
            self._held.pop(tp, None)

    def _same(self, epoch: int) -> None:
        if self.epoch != epoch:
            # Recovery catches this, and waits for the next assignment.
            raise IllegalStateError("the group rebalanced meanwhile")

    async def perform_seek(self) -> None:
        """Place every source partition: at the committed offset, or else at the earliest."""
        async with self._moving:
            await self._end_fetch()
            epoch = self.epoch
            tps = {tp for tp in self.assignment() if not self._is_changelog_tp(tp)}
            if not tps:
                return
            committed, first, end = await self._thread.ends(tps)
            self._same(epoch)
            start = {tp: self._start(tp, committed[tp], first[tp], end[tp]) for tp in tps}
            self._forget_fetched(tps)
            await self._thread.seek_all(start)
            self._same(epoch)
            for tp, offset in start.items():
                self.partitions[tp] = partition = SourcePartition()
                partition.place(offset, committed[tp])

    @staticmethod
    def _start(tp: TP, committed: int | None, first: int, end: int) -> int:
        if committed is None:
            return first
        if committed > end:
            raise TopicTruncatedError(
                f"{tp.topic}[{tp.partition}] ends at offset {end}, but {committed} is committed: the topic was made"
                " anew or lost its end. What comes now would be taken for known. Reset the group's offsets and delete"
                " the changelogs and data folders of its tables, or give the app another name."
            )
        if committed < first:
            log.error("records.gone", topic=tp.topic, partition=tp.partition, committed=committed, first=first)
        return max(committed, first)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Recovery sets the positions of changelogs."""
        async with self._moving:
            await self._end_fetch()
            self._forget_fetched(partitions)
            await super().seek_wait(partitions)

    async def seek(self, partition: TP, offset: int) -> None:
        """By hand: what is in hand of this partition is void, and so is whatever flows have cached."""
        async with self._moving:
            await self._end_fetch()
            if partition not in self.partitions:
                raise IllegalStateError(f"{partition} is not placed")
            self.epoch += 1
            for span, message in list(self._in_hand.items()):
                if message.tp == partition:
                    del self._in_hand[span]
                    self._void(message)
                    self.room.freed(partition.topic)
            self._forget_fetched([partition])
            self.partitions[partition].place(offset, None)
            self.partitions[partition].must_seek = True
            self._news.set()

    async def _seek_back(self) -> None:
        """Set the position of partitions whose fetched records were not all handed over."""
        if not any(partition.must_seek for partition in self.partitions.values()):
            return
        async with self._moving:
            await self._end_fetch()
            epoch = self.epoch
            back = {
                tp: offset
                for tp, partition in self.partitions.items()
                if partition.must_seek and (offset := partition.log.next_offset) is not None
            }
            self._forget_fetched(back)
            with contextlib.suppress(IllegalStateError):  # they went, and we are about to hear of it
                await self._thread.seek_all(back)
            if self.epoch == epoch:
                self.counts["sought back"] += len(back)
                for tp, offset in back.items():
                    # A batch may have come back while the position was set: then it is to be set again.
                    if self.partitions[tp].log.next_offset == offset:
                        self.partitions[tp].sought()
