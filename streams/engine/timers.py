"""Durable timers: set, cancel by id, fire = publish, then delete.

A timer lives in a Faust table, in the partition of the record that set it, so it moves with that partition to the next
owner. Each worker keeps the timers of its own partitions in a heap, rebuilt from the table whenever partitions come.
Due times are absolute: what fell due while nobody was there fires late, at once, in the order of its due times.

A crash between publishing and deleting fires a timer again; what it publishes carries an idempotency key, so the
receiver takes it once in effect.
"""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING

import msgspec
import structlog

from streams.engine.consumer import Stale
from streams.engine.publish import PublishError, name_of
from streams.engine.timer_rows import Declared, TimerRow, decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from schemas.topics import AnyTopic
    from streams.engine.interfaces import Clock, Publish, Slot, Table

log = structlog.get_logger(__name__)

FIRE_AT_MOST = 500
RETRY_S = 1.0
LOOK_AGAIN_S = 0.25


class Timer(msgspec.Struct, frozen=True, kw_only=True):
    """At `due_at_ms` publish `value` under `key` to `topic`. The same id set again replaces the former timer."""

    timer_id: str
    due_at_ms: int
    topic: AnyTopic | str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class Timers:
    """The timers of one app. `run` fires them until it is cancelled."""

    def __init__(
        self,
        table: Table,
        publish: Publish,
        now_ms: Clock,
        declared: Declared | None = None,
    ) -> None:
        self._table = table
        self._publish = publish
        self._now_ms = now_ms
        self._declared = declared or Declared()
        self._heap: list[tuple[int, str, int]] = []
        self._pending: dict[str, TimerRow] = {}
        self._slots: dict[int, Slot] = {}
        self._partition_of: dict[str, int] = {}
        # By partition: published, and still in the table.
        self._fired: dict[int, set[str]] = {}
        self._changed = asyncio.Event()
        self.fired = 0
        self.worst_late_ms = 0

    def __len__(self) -> int:
        return len(self._pending)

    async def set(self, slot: Slot, timers: Iterable[Timer]) -> None:
        """Store the timers in the partition of `slot`; they survive this process from here on."""
        stored = {timer.timer_id: self._stored(timer) for timer in timers}
        # Held before it is written: while the table writes, the former version may fire, and must not delete this one.
        held = self._knows(slot)
        if held:
            self._hold_all(slot, stored)
        await self._table.write(slot, {timer_id.encode(): encode(entry) for timer_id, entry in stored.items()})
        # Where the partition has only just come, its timers are about to be read from the table, or were meanwhile.
        if not held and self._knows(slot):
            self._hold_all(slot, stored)
        self._changed.set()

    async def cancel(self, slot: Slot, timer_ids: Iterable[str]) -> None:
        """Delete timers of the partition of `slot`; an unknown id is fine."""
        gone = list(timer_ids)
        for timer_id in gone:
            self._drop(timer_id)
        await self._table.write(slot, dict.fromkeys((timer_id.encode() for timer_id in gone), None))

    def _stored(self, timer: Timer) -> TimerRow:
        """Of two versions of a timer, recovery keeps the one that was set later, whatever the clocks did."""
        former = self._pending.get(timer.timer_id)
        version = max(self._now_ms(), former.version + 1 if former is not None else 0)
        return TimerRow(version, timer.due_at_ms, name_of(timer.topic), timer.key, timer.value, timer.headers)

    def _knows(self, slot: Slot) -> bool:
        known = self._slots.get(slot.partition)
        return known is not None and known.epoch == slot.epoch

    def _hold_all(self, slot: Slot, stored: Mapping[str, TimerRow]) -> None:
        fired = self._fired.get(slot.partition, set())
        for timer_id, entry in stored.items():
            fired.discard(timer_id)
            self._hold(slot, timer_id, entry)

    def _hold(self, slot: Slot, timer_id: str, entry: TimerRow) -> None:
        self._pending[timer_id] = entry
        self._partition_of[timer_id] = slot.partition
        heapq.heappush(self._heap, (entry.due_at_ms, timer_id, slot.partition))

    def _drop(self, timer_id: str) -> None:
        self._pending.pop(timer_id, None)
        self._partition_of.pop(timer_id, None)

    async def run(self) -> None:
        """Fire what is due, of partitions that are ours now; what could not be published is tried again later."""
        while True:
            # A round that has begun is finished before the partitions go: else what it published fires once more.
            with self._table.at_work():
                left = await self._round()
            if left:
                await asyncio.sleep(RETRY_S)
            else:
                await self._sleep()

    async def _round(self) -> int:
        """Returns how many timers are due and could not be fired now."""
        try:
            self._follow_assignment()
        except Stale:
            # Out of contact while the table was read: all of it is read again.
            self._slots = {}
            return len(self._pending)
        await self._delete_fired()
        due = self._take_due()
        if not due:
            return 0
        try:
            left = await self._fire(due)
        except PublishError as error:
            log.warning("timers.retry", timers=len(due), error=repr(error))
            left = due
        self._put_back(left)
        return len(left)

    def _put_back(self, left: list[tuple[str, TimerRow]]) -> None:
        for timer_id, entry in left:
            if timer_id in self._pending:
                heapq.heappush(self._heap, (entry.due_at_ms, timer_id, self._partition_of[timer_id]))

    def _follow_assignment(self) -> None:
        """Forget the partitions that went, read the timers of those that came."""
        owned = {slot.partition: slot for slot in self._table.owned()}
        if {p: s.epoch for p, s in owned.items()} == {p: s.epoch for p, s in self._slots.items()}:
            return
        known, self._slots = self._slots, owned
        kept = {p for p, slot in owned.items() if p in known and known[p].epoch == slot.epoch}
        for timer_id, partition in list(self._partition_of.items()):
            if partition not in kept:
                self._drop(timer_id)
        self._fired = {partition: gone for partition, gone in self._fired.items() if partition in kept}
        for partition, slot in owned.items():
            if partition not in kept:
                for raw_id, raw in self._table.scan(slot):
                    timer_id = raw_id.decode()
                    self._pending[timer_id] = decode(raw)
                    self._partition_of[timer_id] = partition
        self._heap = [
            (entry.due_at_ms, timer_id, self._partition_of[timer_id]) for timer_id, entry in self._pending.items()
        ]
        heapq.heapify(self._heap)

    def _take_due(self) -> list[tuple[str, TimerRow]]:
        now = self._now_ms()
        due: dict[str, TimerRow] = {}
        while self._heap and self._heap[0][0] <= now and len(due) < FIRE_AT_MOST:
            due_at_ms, timer_id, _ = heapq.heappop(self._heap)
            entry = self._pending.get(timer_id)
            # Cancelled, or set anew for another time: then a later entry of the heap speaks for it.
            if entry is not None and entry.due_at_ms == due_at_ms:
                due[timer_id] = entry
        return list(due.items())

    async def _fire(self, due: list[tuple[str, TimerRow]]) -> list[tuple[str, TimerRow]]:
        """Returns those of partitions that may not be ours at this moment: they wait until that is known."""
        ours: list[tuple[str, TimerRow]] = []
        left: list[tuple[str, TimerRow]] = []
        for timer_id, entry in due:
            slot = self._slots.get(self._partition_of[timer_id])
            (ours if slot is not None and slot.still_ours() else left).append((timer_id, entry))
        await self._publish([self._declared.outgoing(entry) for _, entry in ours])
        now = self._now_ms()
        for timer_id, entry in ours:
            if self._pending.get(timer_id) is not entry:
                continue  # set anew, cancelled or taken away meanwhile: what the table holds now stays
            self._fired.setdefault(self._partition_of[timer_id], set()).add(timer_id)
            self._drop(timer_id)
            self.fired += 1
            self.worst_late_ms = max(self.worst_late_ms, now - entry.due_at_ms)
        await self._delete_fired()
        return left

    async def _delete_fired(self) -> None:
        stale: dict[int, set[str]] = {}
        while self._fired:
            # Taken one by one: what is set anew while another partition is written must not be deleted.
            partition, gone = self._fired.popitem()
            try:
                await self._table.write(self._slots[partition], {timer_id.encode(): None for timer_id in gone})
            except Stale:
                # Out of contact for a moment: tried again. Or a next owner fires them again, without a further effect.
                log.info("timers.stale", partition=partition, timers=len(gone))
                stale[partition] = {timer_id for timer_id in gone if timer_id not in self._pending}
        self._fired = stale

    async def _sleep(self) -> None:
        """Until the next timer is due, one is set, or partitions may have changed."""
        wait_s = LOOK_AGAIN_S
        if self._heap:
            wait_s = min(wait_s, max(0.0, (self._heap[0][0] - self._now_ms()) / 1000))
        self._changed.clear()
        try:
            async with asyncio.timeout(wait_s):
                await self._changed.wait()
        except TimeoutError:
            return
