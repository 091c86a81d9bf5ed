"""Tables of bytes to bytes that are read and written a batch at a time, and restored by applied offset.

    states = app.Table("states", partitions=4, key_type=bytes, value_type=bytes)
    ...
    old = states.read(batch, b"unit-1")
    await states.write(batch, {b"unit-1": new, b"unit-2": None})        # None deletes

**Applied offsets.** A value begins with the offset up to which it contains its source, or with another number that
only grows; `applied_offset_of` of the app reads it. A record at or below it changes nothing. In recovery the higher one
wins, because a frozen worker may have published an old value after its successor's. A deletion carries none: it wins
over everything before it in the changelog.

**The changelog first.** Reads see a write at once, but the store gets it only when the broker has acknowledged its
changelog record: so whenever this process dies, its store is what the changelog was at some offset. No source offset is
committed before that either.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from functools import partial
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any, NoReturn, cast

import structlog
from faust.tables.table import Table
from yarl import URL

from streams.engine.applied_offset import newest_by_applied_offset
from streams.engine.batch_writer import BatchWriter
from streams.engine.changelog import declare
from streams.engine.consumer import Stale
from streams.engine.stores import ROCKSDB_OPTIONS, MemoryStore, PartitionStore, RocksDBStore
from streams.engine.unacknowledged import Unacknowledged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from faust.types import TP

    from streams.engine.consumer import Record
    from streams.engine.group_member import GroupMember
    from streams.engine.interfaces import Slot
    from streams.engine.unacknowledged import Run

log = structlog.get_logger(__name__)


class OwnedPartition:
    """A partition of a table that this worker serves now."""

    __slots__ = ("_member", "epoch", "partition")

    def __init__(self, member: GroupMember, partition: int) -> None:
        self._member = member
        self.partition = partition
        self.epoch = member.epoch_of(partition)

    def still_ours(self) -> bool:
        return self._member.serves(self.partition, self.epoch)


class BulkTable(Table):  # type: ignore[misc]
    """See the module. `app.Table(...)` makes one, for the app was built with this class."""

    def __init__(self, app: Any, **settings: Any) -> None:  # noqa: ANN401 - Faust ships no types
        settings.setdefault("options", dict(ROCKSDB_OPTIONS))
        super().__init__(app, **settings)
        if self.key_type is not bytes or self.value_type is not bytes or not self.partitions:
            raise TypeError(
                f"table {self.name} must be made with partitions=…, key_type=bytes and value_type=bytes;"
                " another type stalls recovery for ever"
            )
        self._one_at_a_time: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._ahead = Unacknowledged()

    @property
    def store(self) -> PartitionStore:
        return cast("PartitionStore", self.data)

    @property
    def _member(self) -> GroupMember:
        return cast("GroupMember", self.app.consumer.member)

    def _new_store_by_url(self, url: str | URL) -> MemoryStore | RocksDBStore:
        kinds: dict[str, type[MemoryStore | RocksDBStore]] = {"memory": MemoryStore, "rocksdb": RocksDBStore}
        kind = kinds[URL(url).scheme]
        return kind(
            url,
            self.app,
            self,
            table_name=self.name,
            key_type=self.key_type,
            value_type=self.value_type,
            key_serializer=self.key_serializer,
            value_serializer=self.value_serializer,
            options=self.options if kind is RocksDBStore else None,
        )

    async def on_start(self) -> None:
        """Make the changelog before anything is read from it."""
        await self.add_runtime_dependency(self.data)
        await declare(self.app.worker_settings, self.changelog_topic_name, self.partitions)

    def read(self, slot: Slot, key: bytes) -> bytes | None:
        """The value of the key in the slot's partition."""
        return self._ahead.read(self.store, slot.partition, key)

    def owned(self) -> Sequence[OwnedPartition]:
        """The partitions that are ours now and completely restored; none while they are about to go."""
        member = self._member
        if member.leaving or not member.ready:
            return ()
        topic = self.changelog_topic_name
        numbers = sorted(tp.partition for tp in self.app.assignor.assigned_actives() if tp.topic == topic)
        return [OwnedPartition(member, number) for number in numbers]

    def at_work(self) -> AbstractContextManager[None]:
        """For what writes beside the flows: partitions are given up only when it has left this context."""
        return self._member.at_work()

    def scan(self, slot: Slot) -> Iterator[tuple[bytes, bytes]]:
        """Every key and value of the slot's partition, as they are now. Raises Stale when it is not ours any more."""
        self._check(slot)
        return self._ahead.scan(self.store, slot.partition)

    async def write(self, slot: Slot, items: Mapping[bytes, bytes | None], *, durable: bool = False) -> None:
        """Write the values; None deletes. Raises Stale, and has no effect, when the partition is not ours any more.

        With `durable` it returns when the broker has the changelog records: for what another worker must know even
        if this one is killed in the next moment.
        """
        async with self._one_at_a_time[slot.partition]:
            self._check(slot)
            sent = await self._put(slot.partition, items)
        if durable:
            await self._member.sends.finished(sent)

    async def delete_unchanged(self, slot: Slot, judged: Mapping[bytes, bytes]) -> int:
        """Delete the rows whose values are still the `judged` ones; returns how many. Raises Stale as `write` does."""
        async with self._one_at_a_time[slot.partition]:
            self._check(slot)
            gone = [key for key, value in judged.items() if self.read(slot, key) == value]
            await self._put(slot.partition, dict.fromkeys(gone))
        return len(gone)

    def _check(self, slot: Slot) -> None:
        if not slot.still_ours():
            raise Stale(f"partition {slot.partition} of table {self.name} is not ours any more")

    async def _put(self, partition: int, items: Mapping[bytes, bytes | None]) -> list[asyncio.Future[Any]]:
        """Show the rows to reads and queue their changelog records, in the same order as any other writer's."""
        sends = self._member.sends
        writer = BatchWriter(self.app, self.changelog_topic_name, partition)
        batches = writer.filled(zip(items, items.values(), repeat(()), strict=False))
        rows = iter(items.items())
        runs = [dict(islice(rows, batch.record_count())) for batch in batches]
        for run in runs:
            self._ahead.add(partition, run)
        sent: list[asyncio.Future[Any]] = []
        for batch, run in zip(batches, runs, strict=True):
            future: asyncio.Future[Any] = await sends.within_limit(writer.send(batch))
            sends.track(future)
            future.add_done_callback(partial(self._answered, partition, run))
            sent.append(future)
        return sent

    def _answered(self, partition: int, run: Run, future: asyncio.Future[Any]) -> None:
        """Store what the changelog has; a failed send ends the worker, which `Sends` sees to.

        The store's own offset moves only without a gap: in a gap lies what another worker wrote while this one was
        frozen, and the next recovery must see it.
        """
        if future.cancelled() or future.exception() is not None or self.should_stop:
            return
        try:
            if not self._ahead.arrived(partition, run):
                return  # after a rebalance the next recovery reads it
            first, contained = future.result().offset, self.store.offset(partition)
            complete = first == (0 if contained is None else contained + 1)
            self.store.apply(partition, run, first + len(run) - 1 if complete else None)
        except Exception as error:
            # Nobody else sees what a callback raises.
            log.exception("store.not_written", table=self.name, partition=partition)
            self._member.sends.fail(error)

    def restore(self, tp: TP, records: Sequence[Record]) -> None:
        """Apply a run of changelog records in recovery; called by the consumer."""
        applied_offset_of = self.app.applied_offset_of
        stored = self.store.read
        values = newest_by_applied_offset(records, applied_offset_of, lambda key: stored(tp.partition, key))
        self.store.apply(tp.partition, values, records[-1].offset)

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        self._ahead.clear()
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    def __setitem__(self, key: object, value: object) -> NoReturn:
        raise TypeError(f"table {self.name}: to write, `await table.write(batch, {{key: value}})`")

    def __delitem__(self, key: object) -> NoReturn:
        raise TypeError(f"table {self.name}: to delete, `await table.write(batch, {{key: None}})`")
