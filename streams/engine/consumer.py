"""How a flow gets its records: in batches of one partition, in order, committed only when the flow has finished.

    @app.agent(app.topic("readings", key_serializer="raw", value_serializer="raw"))
    async def detect(stream):
        await each_batch(app, stream, detection.handle)

A flow's `handle` first publishes what follows from the batch, then writes its tables, then returns. It catches what is
wrong with a single record; for what it did not think of there is `quarantine.py`. Whatever it raises here ends the
worker, and the batch is read again by the next one. So it must give the same result when it sees a batch twice: see
`streams/engine/tables.py` about applied offsets.
"""

from __future__ import annotations

import asyncio
import copy
import time
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from streams.engine.bounded import look_at
from streams.engine.freeze_guard import end_if_frozen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import faust

    from streams.engine.group_member import GroupMember
    from streams.engine.partition import OffsetRange, Partition

log = structlog.get_logger(__name__)


class Record(Protocol):
    """What aiokafka gives: a record as the broker keeps it."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Stale(Exception):  # noqa: N818 - it is no error: somebody else has the batch, or it is read again
    """The partition was revoked, or is read again: what is in hand must have no further effect."""


class Batch:
    """A run of records of one partition, oldest first.

    `epoch` changes whenever partitions of this number may have been away, or a batch of theirs was returned: whatever
    a flow has cached of its tables is void then.
    """

    __slots__ = ("_member", "_range", "_source", "epoch", "partition", "records", "topic")

    def __init__(self, member: GroupMember, message: Any) -> None:  # noqa: ANN401 - Faust ships no types
        self._member = member
        self._range: OffsetRange = message.range
        self._source: Partition = message.source
        self.epoch: int = member.epoch_of(message.partition)
        self.topic: str = message.topic
        self.partition: int = message.partition
        self.records: Sequence[Record] = message.value

    def part(self, records: Sequence[Record]) -> Batch:
        """Some of its records: it lasts as long as the whole, which alone can be completed or returned."""
        part = copy.copy(self)
        part.records = records
        return part

    def still_ours(self) -> bool:
        """Whether effects of this batch are still wanted. Asked before anything leaves that cannot be taken back.

        Ends the process when it was frozen. False once the partition was revoked, sought or returned, and while the
        group has not heard of this worker for as long as others wait before they take over.
        """
        end_if_frozen()
        self._range.seen_at = time.monotonic()
        return self._range.is_assigned and self._member.in_contact()

    def must_end(self) -> bool:
        """Whether the partition is about to go (a rebalance, SIGTERM). The group waits 5 s, a shutdown 20 s.

        A flow with a long batch then finishes what it has begun and raises Stale; the batch is read again elsewhere.
        A flow that waits asks this, or `still_ours`, at least every few seconds: else it is taken for stuck.
        """
        self._range.seen_at = time.monotonic()
        return self._member.leaving

    def complete(self) -> None:
        """Everything that follows from it is at the broker: it may be committed."""
        self._member.complete(self._source, self._range)

    def return_batch(self) -> None:
        """It is read again, here or elsewhere."""
        self._member.return_batch(self._source, self.partition, self._range)


async def each_batch(
    app: faust.App,
    stream: Any,  # noqa: ANN401 - Faust ships no types
    handle: Callable[[Batch], Awaitable[None]],
    *,
    at_once: int = 1,
) -> None:
    """Run `handle` for the batches, `at_once` of them side by side; those for which it returned are completed.

    More than one at once gives up the order of batches: for flows that keep order by other means. They are committed
    in order all the same. Faust's own loops acknowledge an event also when their body raised. Here that ends the
    worker instead.
    """
    running: set[asyncio.Task[None]] = set()
    try:
        async for event in stream.noack().events():
            # Behind a batch that a flow returned nothing may begin: a table's value that contains later records would
            # make the returned ones look known to the next owner.
            if not event.message.range.is_assigned or event.message.source.has_returned:
                continue
            batch = Batch(app.consumer.member, event.message)
            if at_once == 1:
                await _one_batch(app, batch, handle)
                continue
            task = asyncio.create_task(_one_batch(app, batch, handle))
            running.add(task)
            # What it raised has ended the worker already.
            look_at(task, "a batch")
            task.add_done_callback(running.discard)
            if len(running) >= at_once:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in running:
            task.cancel()


async def _one_batch(app: faust.App, batch: Batch, handle: Callable[[Batch], Awaitable[None]]) -> None:
    place = {"topic": batch.topic, "partition": batch.partition, "offset": batch.records[0].offset}
    with app.consumer.member.at_work():
        try:
            await handle(batch)
        except Stale:
            log.info("batch.stale", **place)
            batch.return_batch()
        except Exception as error:
            log.exception("batch.failed", **place)
            await app.crash(error)
            raise
        else:
            batch.complete()
