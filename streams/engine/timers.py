"""Durable timers: set, cancel by id, fire = publish, then delete.

A timer lives in a Faust table, in the partition of the record that set it, so it moves with that partition to the next
owner. Each worker keeps the timers of its own partitions in memory, read from the table whenever partitions come.
Due times are absolute: what fell due while no worker was there fires late, at once, in the order of its due times.

**Memory follows the table.** After every write, memory takes what the table says at that moment about the ids written,
whoever else wrote meanwhile. A fired timer is deleted only if its row is still the one that was published.

Each topic fires by itself, one publish at a time: a topic that cannot be reached holds up its own timers only. What
was not acknowledged waits a moment, behind what is due until then.

A crash between publishing and deleting fires a timer again; what it publishes carries an idempotency key, so the
receiver takes it once in effect.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec
import structlog

from streams.engine.alarms import raise_alarm
from streams.engine.consumer import Stale
from streams.engine.publish import PublishError
from streams.engine.quarantine import about_records
from streams.engine.timer_queue import Pending, TimerQueue
from streams.engine.timer_rows import Declared, TimerRow, decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, MutableSet, Sequence

    from schemas.topic import AnyTopic
    from streams.engine.interfaces import Clock, Publish, Slot, Table

log = structlog.get_logger(__name__)

FIRE_AT_MOST = 500
RETRY_MS = 1_000
# A later release may send what this one cannot.
UNFIT_RETRY_MS = 3_600_000
LOOK_AGAIN_S = 0.25


class Timer(msgspec.Struct, frozen=True, kw_only=True):
    """At `due_at_ms` publish `value` under `key` to `topic`. The same id set again replaces the former timer."""

    timer_id: str
    due_at_ms: int
    topic: AnyTopic
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class Timers:
    """The timers of one app. `run` fires them until it is cancelled."""

    def __init__(self, table: Table, publish: Publish, now_ms: Clock, declared: Declared | None = None) -> None:
        self._table = table
        self._publish = publish
        self._now_ms = now_ms
        self._declared = declared or Declared()
        self._pending: dict[bytes, Pending] = {}
        self._queues: defaultdict[str, TimerQueue] = defaultdict(TimerQueue)
        self._slots: dict[int, Slot] = {}
        # By partition: rows that were published and are still in the table.
        self._fired: dict[int, dict[bytes, bytes]] = {}
        self._changed = asyncio.Event()
        self.fired = 0
        self.worst_late_ms = 0

    def __len__(self) -> int:
        return len(self._pending)

    async def set(self, slot: Slot, timers: Iterable[Timer]) -> None:
        """Store the timers in the partition of `slot`; they survive this process from here on."""
        rows = {timer.timer_id.encode(): encode(self._row(timer)) for timer in timers}
        await self._table.write(slot, rows)
        self._follow_table(slot, rows)
        self._changed.set()

    async def cancel(self, slot: Slot, timer_ids: Iterable[str]) -> None:
        """Delete timers of the partition of `slot`; an unknown id is fine."""
        gone = dict.fromkeys(timer_id.encode() for timer_id in timer_ids)
        await self._table.write(slot, gone)
        self._follow_table(slot, gone)

    def _row(self, timer: Timer) -> TimerRow:
        """Of two versions of a timer, recovery keeps the one that was set later, whatever the clocks did."""
        former = self._pending.get(timer.timer_id.encode())
        version = max(self._now_ms(), decode(former.raw).version + 1 if former is not None else 0)
        return TimerRow(version, timer.due_at_ms, timer.topic.name, timer.key, timer.value, timer.headers)

    def _follow_table(self, slot: Slot, timer_ids: Iterable[bytes]) -> None:
        known = self._slots.get(slot.partition)
        if known is None or known.epoch != slot.epoch:
            return  # the partition is about to be read
        for timer_id in timer_ids:
            self._hold(slot.partition, timer_id, self._table.read(slot, timer_id))

    def _hold(self, partition: int, timer_id: bytes, raw: bytes | None) -> None:
        """Take a row as the table has it."""
        former = self._pending.get(timer_id)
        if raw is None or raw == self._fired.get(partition, {}).get(timer_id):
            self._pending.pop(timer_id, None)
        elif former is None or former.raw != raw:
            try:
                row = decode(raw)
            except msgspec.MsgspecError as error:
                # It stays in the table, and its partition goes on.
                self._pending.pop(timer_id, None)
                raise_alarm("timer.unreadable", error, partition=partition, timer=timer_id.decode(errors="replace"))
                return
            timer = self._pending[timer_id] = Pending(timer_id, partition, row.due_at_ms, raw)
            self._queues[row.topic].add(row.due_at_ms, timer)

    async def run(self) -> None:
        """Fire what is due, of partitions that are ours now."""
        async with asyncio.TaskGroup() as firing:
            while True:
                self._changed.clear()
                try:
                    self._follow_assignment()
                except Stale:
                    # Out of contact while the table was read: all of it is read again.
                    self._slots = {}
                else:
                    await self._delete_fired()
                    for topic, queue in self._queues.items():
                        if not queue.busy and (due := queue.take(self._now_ms(), FIRE_AT_MOST, self._pending)):
                            queue.busy = True
                            firing.create_task(self._fire(topic, queue, due))
                await self._sleep()

    def _follow_assignment(self) -> None:
        """Forget the partitions that went, read the timers of those that came."""
        owned = {slot.partition: slot for slot in self._table.owned()}
        if {p: s.epoch for p, s in owned.items()} == {p: s.epoch for p, s in self._slots.items()}:
            return
        known, self._slots = self._slots, owned
        kept = {p for p, slot in owned.items() if p in known and known[p].epoch == slot.epoch}
        self._pending = {timer_id: timer for timer_id, timer in self._pending.items() if timer.partition in kept}
        self._fired = {partition: gone for partition, gone in self._fired.items() if partition in owned}
        busy = {topic for topic, queue in self._queues.items() if queue.busy}
        for queue in self._queues.values():
            queue.keep(self._pending)
        for topic in self._queues.keys() - busy:
            if not self._queues[topic]:
                del self._queues[topic]
        for partition, slot in owned.items():
            if partition not in kept:
                for timer_id, raw in self._table.scan(slot):
                    self._hold(partition, timer_id, raw)

    async def _fire(self, topic: str, queue: TimerQueue, due: Sequence[Pending]) -> None:
        try:
            # A firing that has begun ends before the partitions go: else what it published fires once more.
            with self._table.at_work():
                # What may not be ours at this moment waits until that is known.
                ours = [timer for timer in due if (slot := self._slots.get(timer.partition)) and slot.still_ours()]
                unfit: set[bytes] = set()
                arrived = await self._published(topic, ours, unfit)
                now_ms = self._now_ms()
                for timer in arrived:
                    self._fired.setdefault(timer.partition, {})[timer.timer_id] = timer.raw
                    if (held := self._pending.get(timer.timer_id)) is not None and held.raw == timer.raw:
                        del self._pending[timer.timer_id]
                    self.worst_late_ms = max(self.worst_late_ms, now_ms - timer.due_at_ms)
                self.fired += len(arrived)
                for timer in due:
                    if self._pending.get(timer.timer_id) is timer:
                        queue.add(now_ms + (UNFIT_RETRY_MS if timer.timer_id in unfit else RETRY_MS), timer)
                await self._delete_fired()
        finally:
            queue.busy = False
            self._changed.set()

    async def _published(self, topic: str, due: Sequence[Pending], unfit: MutableSet[bytes]) -> Sequence[Pending]:
        """Those that certainly are at the broker; `unfit` gets the ids of those that no attempt can send."""
        try:
            await self._publish([self._declared.outgoing(decode(timer.raw)) for timer in due])
        except Exception as error:
            if about_records(error):
                return await self._halved(topic, due, unfit, error)
            if not isinstance(error, PublishError):
                raise
            log.warning("timers.retry", topic=topic, timers=len(due) - len(error.acknowledged), error=repr(error))
            return [due[place] for place in sorted(error.acknowledged)]
        return due

    async def _halved(
        self, topic: str, due: Sequence[Pending], unfit: MutableSet[bytes], error: Exception
    ) -> Sequence[Pending]:
        """One bad timer must hold up neither those beside it nor, at every start, the worker."""
        if half := len(due) // 2:
            return [*await self._published(topic, due[:half], unfit), *await self._published(topic, due[half:], unfit)]
        unfit.add(due[0].timer_id)
        raise_alarm("timer.unfit", error, topic=topic, timer=due[0].timer_id.decode(errors="replace"), why=repr(error))
        return []

    async def _delete_fired(self) -> None:
        for partition in list(self._fired):
            gone, slot = self._fired.get(partition), self._slots.get(partition)
            if not gone or slot is None:
                continue
            rows = dict(gone)
            try:
                await self._table.delete_unchanged(slot, rows)
            except Stale:
                # Out of contact for a moment: tried again. Or a next owner fires them again, without a further effect.
                log.info("timers.stale", partition=partition, timers=len(rows))
                continue
            self._forget_fired(partition, rows)
            self._follow_table(slot, rows)

    def _forget_fired(self, partition: int, rows: Mapping[bytes, bytes]) -> None:
        left = {timer_id: raw for timer_id, raw in self._fired.get(partition, {}).items() if rows.get(timer_id) != raw}
        self._fired[partition] = left
        if not left:
            del self._fired[partition]

    async def _sleep(self) -> None:
        """Until the next timer is due, one is set, or partitions may have changed."""
        next_ms = min((queue.next_ms for queue in self._queues.values() if queue and not queue.busy), default=None)
        wait_s = LOOK_AGAIN_S if next_ms is None else min(LOOK_AGAIN_S, max(0.0, (next_ms - self._now_ms()) / 1000))
        try:
            async with asyncio.timeout(wait_s):
                await self._changed.wait()
        except TimeoutError:
            return
