"""Units from which nothing comes: their buckets are closed by the wall clock, and their silence is reported.

A round goes over all configured units of our partitions, a part at every look, so that each is looked at within 20 s
and no look holds the flow up for long. A partition is left alone until it is caught up: what lies in a backlog was
heard. A unit that was never heard counts from the moment at which it was first looked at; that moment is stored.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from domain.detection.aggregate_state import UnitBuckets
from domain.detection.offline import LOOK_WITHIN_MS, group_of, judged_from_ms, silent_at_ms
from domain.detection.threshold import UnitState, unit_removed
from schemas import messages as m
from schemas.topics import ALERTS, UNIT_SILENCES
from streams.detection.readings_to_aggregates import Closings
from streams.detection.records import alert_record, silence_record
from streams.detection.unit_states import Unit
from streams.engine.consumer import Stale
from streams.engine.publish import PublishError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

    from streams.detection.counts import DetectionCounts
    from streams.detection.readings_to_aggregates import Aggregation, Load
    from streams.detection.unit_states import Slot, UnitStates
    from streams.engine.publish import Outgoing

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.25
AT_LEAST = 500
LOOKS_IN_A_ROUND = int(LOOK_WITHIN_MS / 1000 / LOOK_EVERY_S)

replace = msgspec.structs.replace


class Units(Protocol):
    """The configured units. `version` changes whenever one of them does."""

    version: int

    def get(self, entry_id: str) -> m.UnitConfig | None: ...
    def values(self) -> Iterable[m.UnitConfig]: ...


class Hearing(Protocol):
    """Whether we have heard all there is, and since when without a break."""

    since_ms: int

    async def caught_up(self, partitions: Collection[int]) -> frozenset[int]: ...


class _Work(msgspec.Struct):
    outgoing: list[Outgoing] = msgspec.field(default_factory=list)
    changed: dict[bytes, UnitState] = msgspec.field(default_factory=dict)
    closings: Closings = msgspec.field(default_factory=Closings)
    silent: int = 0


class SilentUnits:
    """`run` looks until it is cancelled. `partition_of` says where the readings of a unit lie."""

    def __init__(
        self,
        publish: Callable[[Sequence[Outgoing]], Awaitable[None]],
        states: UnitStates,
        aggregation: Aggregation,
        units: Units,
        hearing: Hearing,
        partition_of: Callable[[str], int],
        topic_name: Callable[[str], str],
        now_ms: Callable[[], int],
        counts: DetectionCounts,
    ) -> None:
        self._publish = publish
        self._states = states
        self._aggregation = aggregation
        self._units = units
        self._hearing = hearing
        self._partition_of = partition_of
        self._alerts_topic = topic_name(ALERTS.name)
        self._silences_topic = topic_name(UNIT_SILENCES.name)
        self._now_ms = now_ms
        self._counts = counts
        self._round: list[str] = []
        self._placed: dict[str, int] = {}
        self._version = -1
        self._gone: dict[str, int] = {}
        self._scanned: dict[int, int] = {}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Look at the next part of the units, as far as their partitions are ours and caught up."""
        owned = {slot.partition: slot for slot in self._states.table.owned()}
        ready = await self._hearing.caught_up(owned.keys())
        self._follow_removals(owned, ready)
        parts: dict[int, list[str]] = {}
        for unit_id in self._next_part():
            partition = self._placed.get(unit_id)
            if partition is None:
                partition = self._placed[unit_id] = self._partition_of(unit_id)
            if partition in ready:
                parts.setdefault(partition, []).append(unit_id)
        for unit_id, partition in self._gone.items():
            if partition in ready:
                parts.setdefault(partition, []).append(unit_id)
        for partition, unit_ids in parts.items():
            if await self._look_at(owned[partition], unit_ids):
                for unit_id in self._gone.keys() & unit_ids:
                    del self._gone[unit_id]

    def _next_part(self) -> list[str]:
        if not self._round:
            self._round = [config.unit_id for config in self._units.values()]
        size = max(AT_LEAST, -(-len(self._placed) // LOOKS_IN_A_ROUND))
        part = self._round[-size:]
        del self._round[-size:]
        return part

    def _follow_removals(self, owned: dict[int, Slot], ready: Collection[int]) -> None:
        """Find units that left the configuration with something open: while we work, and before we had a partition."""
        if self._version != self._units.version:
            self._version = self._units.version
            for unit_id in [unit_id for unit_id in self._placed if self._units.get(unit_id) is None]:
                self._gone[unit_id] = self._placed.pop(unit_id)
        self._gone = {unit_id: partition for unit_id, partition in self._gone.items() if partition in owned}
        self._scanned = {p: epoch for p, epoch in self._scanned.items() if p in owned and owned[p].epoch == epoch}
        for partition in ready:
            if partition not in self._scanned and owned[partition].still_ours():
                self._scanned[partition] = owned[partition].epoch
                for key, state in self._states.scan(owned[partition]):
                    unit_id = key.decode(errors="replace")
                    if (state.breaches or state.silent_in) and self._units.get(unit_id) is None:
                        self._gone[unit_id] = partition

    async def _look_at(self, slot: Slot, unit_ids: Iterable[str]) -> bool:
        """True when all is done; otherwise it is tried again in the next round."""
        states = self._states
        async with states.lock(slot.partition):
            if not slot.still_ours():
                return False
            try:
                await self._work(slot, unit_ids)
            except (PublishError, Stale) as error:
                states.forget(slot.partition)
                log.warning("silence.again", partition=slot.partition, error=repr(error))
                return False
            except BaseException:
                states.forget(slot.partition)
                raise
        return True

    async def _work(self, slot: Slot, unit_ids: Iterable[str]) -> None:
        states, work, now_ms = self._states, _Work(), self._now_ms()
        known, load = states.known_in(slot), self._aggregation.loader(slot)
        touched: list[tuple[Unit, bytes]] = []
        for unit_id in unit_ids:
            key = unit_id.encode()
            unit = known.get(key) or states.find(slot, key) or Unit(UnitState())
            after = self._after(unit, unit_id, load, now_ms, work)
            if after is not None:
                work.changed[key] = after
                touched.append((unit, key))
        if not work.changed:
            return
        if work.outgoing:
            await self._publish(work.outgoing)
        await self._aggregation.finish(slot, work.closings)
        await states.write(slot, work.changed)
        for unit, key in touched:
            unit.state = work.changed[key]
        self._counts.buckets += len(work.closings.outgoing)
        self._counts.silent += work.silent

    def _after(self, unit: Unit, unit_id: str, load: Load, now_ms: int, work: _Work) -> UnitState | None:
        """The unit's new state; None when there is nothing to do."""
        watch, state = self._states.configure(unit, unit_id), unit.state
        if watch is None:
            return self._removed(unit_id, state, work)
        buckets = state.buckets
        if buckets is None or not buckets.touched_at_ms:
            return replace(state, buckets=UnitBuckets(touched_at_ms=now_ms))
        closed = self._aggregation.close_due(buckets, state.fence, watch, load, now_ms, work.closings)
        config, group, silent_in = watch.config, group_of(watch.config), state.silent_in
        if silent_in is not None and silent_in != group:
            work.outgoing.append(self._heard(unit_id, silent_in, now_ms, "moved to another gateway"))
            silent_in = None
        silent_ms = silent_at_ms(config, buckets.touched_at_ms)
        if silent_in is None and now_ms >= max(silent_ms, judged_from_ms(config, self._hearing.since_ms)):
            silent_in = group
            work.silent += 1
            event = m.UnitSilent(
                unit_id=unit_id,
                organization_id=config.organization_id,
                group=group,
                since_at_ms=buckets.touched_at_ms,
                at_ms=silent_ms,
            )
            work.outgoing.append(silence_record(event, self._silences_topic))
        if silent_in != state.silent_in:
            return replace(state, silent_in=silent_in)
        return state if closed else None

    def _removed(self, unit_id: str, state: UnitState, work: _Work) -> UnitState | None:
        if not state.breaches and state.silent_in is None:
            return None
        after, ended = unit_removed(unit_id, state)
        work.outgoing += [alert_record(alert, self._alerts_topic) for alert in ended]
        if state.silent_in is not None:
            work.outgoing.append(self._heard(unit_id, state.silent_in, self._now_ms(), "unit removed"))
        return replace(after, silent_in=None)

    def _heard(self, unit_id: str, group: str, at_ms: int, because: str) -> Outgoing:
        event = m.UnitHeard(unit_id=unit_id, group=group, at_ms=at_ms, because=because)
        return silence_record(event, self._silences_topic)
