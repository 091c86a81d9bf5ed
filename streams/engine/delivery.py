"""The loop that moves records: from the broker into partitions, from there to the flows, a batch at a time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

import structlog
from aiokafka.errors import IllegalStateError, KafkaError, OffsetOutOfRangeError

from streams.engine.bounded import look_at
from streams.engine.placement import lost_to_retention, start_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Collection, Mapping, Sequence

    from faust.types import TP

    from streams.engine.broker_client import BrokerClient, Fetched
    from streams.engine.consumer import Record
    from streams.engine.partition import OffsetRange, Partition

log = structlog.get_logger(__name__)

FETCH_WAIT_S = 1.0
CALL_LIMIT_S = 10.0
RETRY_S = 0.2
# Decoding more at once would keep the interpreter from the flows for too long.
MAX_RECORDS = 50_000


class Receivers(Protocol):
    """The flows, as delivery sees them."""

    def batch_size(self, topic: str) -> int:
        """How many records the flow of a topic gets at once."""

    async def hand_over(self, tp: TP, partition: Partition, taken: OffsetRange, records: Sequence[Record]) -> None:
        """Give a batch to the flow of its topic."""


class Delivery:
    """Of the source partitions of one assignment. Nothing else assigns ranges, fetches or seeks while it runs.

    A partition is fetched for when nothing of it waits here, and gets a batch when its topic has room: fewer than
    `queued` batches in hand. So a backlog of one topic never delays another.
    """

    def __init__(
        self,
        client: BrokerClient,
        partitions: Mapping[TP, Partition],
        flows: Receivers,
        may_deliver: Callable[[], bool],
        counts: Counter[str],
        queued: int,
    ) -> None:
        self.partitions = partitions
        self.news = asyncio.Event()
        self._client = client
        self._flows = flows
        self._may_deliver = may_deliver
        self._counts = counts
        self._queued = queued
        self._topics: dict[str, list[Partition]] = {}
        for tp, partition in partitions.items():
            self._topics.setdefault(tp.topic, []).append(partition)
        self._fetching: asyncio.Task[Mapping[TP, Fetched]] | None = None
        self._fetched_for: Collection[TP] = ()

    async def run(self) -> None:
        """Until it is cancelled. Raises what only a new process may go on from."""
        try:
            while True:
                self.news.clear()
                if not (self._may_deliver() and await self._step()):
                    await self._wait()
        finally:
            if self._fetching is not None:
                self._fetching.cancel()
                look_at(self._fetching, "fetch")

    async def _step(self) -> bool:
        """Hand over a batch of every partition that has one; False when there was none."""
        if self._fetching is not None and self._fetching.done():
            await self._take_fetched()
        await self._seek()
        delivered = False
        for tp, partition in self.partitions.items():
            if self._has_room(tp.topic) and (batch := partition.assign(self._flows.batch_size(tp.topic))) is not None:
                await self._flows.hand_over(tp, partition, *batch)
                delivered = True
        self._start_fetch()
        if delivered:
            await asyncio.sleep(0)
        return delivered

    def _has_room(self, topic: str) -> bool:
        return sum(partition.in_hand for partition in self._topics[topic]) < self._queued

    async def _wait(self) -> None:
        """For a fetch, for room, for a batch that was returned: or a second."""
        try:
            async with asyncio.timeout(FETCH_WAIT_S):
                await self.news.wait()
        except TimeoutError:
            if self._fetching is None:
                await self._client.keep_alive()

    async def _take_fetched(self) -> None:
        fetching, self._fetching = self._fetching, None
        if fetching is None:
            return
        try:
            fetched = fetching.result()
        except OffsetOutOfRangeError as error:
            with contextlib.suppress(TimeoutError):
                await self._pass_over([tp for tp in self.partitions if tp in error.args[0]])
            return
        except KafkaError as error:
            if not error.retriable:
                raise
            log.warning("fetch.failed", error=repr(error))
            await asyncio.sleep(RETRY_S)
            return
        for tp, found in fetched.items():
            if not self.partitions[tp].take(found):
                self._counts["void"] += len(found.records)

    async def _pass_over(self, tps: Collection[TP]) -> None:
        """Go on behind what retention removed. Raises TopicTruncatedError where the topic lost its end instead."""
        for tp in tps:
            # Where the broker does not answer now, it refuses the position again.
            self.partitions[tp].pass_over(self.partitions[tp].position)
        for tp, found in (await self._client.offsets(tps, limit_s=CALL_LIMIT_S)).items():
            wanted = found._replace(committed=self.partitions[tp].position)
            self.partitions[tp].pass_over(start_of(tp, wanted))
            report_lost(tp, lost_to_retention(wanted), self._counts)

    async def _seek(self) -> None:
        """Set the client's position wherever records are to be read again."""
        if not any(partition.must_seek for partition in self.partitions.values()):
            return
        if self._fetching is not None:
            self._client.interrupt_fetch()
            await asyncio.wait([self._fetching])
            await self._take_fetched()
        targets = {tp: partition.position for tp, partition in self.partitions.items() if partition.must_seek}
        try:
            await self._client.seek(targets, limit_s=CALL_LIMIT_S)
        except IllegalStateError:
            # They went, and `revoked` is about to be called.
            await asyncio.sleep(RETRY_S)
            return
        self._counts["sought"] += len(targets)
        for tp, offset in targets.items():
            self.partitions[tp].sought(offset)

    def _start_fetch(self) -> None:
        """Fetch for all that want records; a fetch that lacks one of them is ended first."""
        wanted = {tp for tp, partition in self.partitions.items() if partition.wants_records}
        if self._fetching is not None:
            if not wanted <= set(self._fetched_for):
                self._client.interrupt_fetch()
        elif wanted:
            self._fetched_for = wanted
            fetch = self._client.fetch(wanted, max_records=MAX_RECORDS, wait_s=FETCH_WAIT_S)
            self._fetching = asyncio.ensure_future(fetch)
            self._fetching.add_done_callback(lambda _: self.news.set())


def report_lost(tp: TP, lost: int, counts: Counter[str]) -> None:
    """Retention removed records that nobody had read."""
    if lost:
        counts["lost to retention"] += lost
        log.error("records.lost_to_retention", topic=tp.topic, partition=tp.partition, offsets=lost)
