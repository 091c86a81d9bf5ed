"""Units from which nothing comes: their buckets are closed by the wall clock, and they are reported as offline.

A round covers all configured units of our partitions, a part at every look, so that each is looked at within 20 s and
no look blocks the flow for long. A partition is left alone until it is caught up: a backlog may hold readings of the
unit. A unit that never sent anything counts from when it was first looked at; that moment is stored.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from domain.detection import sensor_clock
from domain.detection.aggregate_state import UnitBuckets
from domain.detection.offline import group_of, judged_from_ms, offline_at_ms
from domain.detection.threshold import unit_removed
from domain.detection.unit_state import UnitState
from schemas import messages as m
from streams.detection.records import alert_record, connectivity_record
from streams.detection.unit_buckets import Closings
from streams.detection.unit_states import Unit
from streams.engine.consumer import Stale
from streams.engine.publish import PublishError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from domain.detection.aggregate_state import Load
    from streams.detection.counts import DetectionCounts
    from streams.detection.unit_buckets import BucketTable
    from streams.detection.unit_rounds import UnitRounds
    from streams.detection.unit_states import UnitStates
    from streams.engine.interfaces import Clock, Publish, Slot
    from streams.engine.publish import Outgoing

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.25

replace = msgspec.structs.replace


class Lag(Protocol):
    """Which partitions are caught up, and since when contact with the broker is unbroken."""

    connected_since_ms: int

    async def caught_up(self, partitions: Collection[int]) -> frozenset[int]: ...


class _Work(msgspec.Struct):
    outgoing: list[Outgoing] = msgspec.field(default_factory=list)
    changed: dict[bytes, UnitState] = msgspec.field(default_factory=dict)
    closings: Closings = msgspec.field(default_factory=Closings)
    offline: int = 0


class OfflineUnits:
    """`run` looks until it is cancelled."""

    def __init__(
        self,
        publish: Publish,
        states: UnitStates,
        buckets: BucketTable,
        rounds: UnitRounds,
        lag: Lag,
        now_ms: Clock,
        counts: DetectionCounts,
    ) -> None:
        self._publish = publish
        self._states = states
        self._buckets = buckets
        self._rounds = rounds
        self._lag = lag
        self._now_ms = now_ms
        self._counts = counts

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Look at the next part of the units, as far as their partitions are ours and caught up."""
        owned = {slot.partition: slot for slot in self._states.table.owned()}
        ready = await self._lag.caught_up(owned.keys())
        for partition, unit_ids in self._rounds.next_part(owned, ready, self._states.scan).items():
            if await self._look_at(owned[partition], unit_ids):
                self._rounds.done(unit_ids)

    async def _look_at(self, slot: Slot, unit_ids: Iterable[str]) -> bool:
        """True when all is done; otherwise it is retried in the next round."""
        states = self._states
        async with states.lock(slot.partition):
            if not slot.still_ours():
                return False
            try:
                await self._work(slot, unit_ids)
            except (PublishError, Stale) as error:
                states.forget(slot.partition)
                log.warning("offline_units.retried", partition=slot.partition, error=repr(error))
                return False
            except BaseException:
                states.forget(slot.partition)
                raise
        return True

    async def _work(self, slot: Slot, unit_ids: Iterable[str]) -> None:
        states, work, now_ms = self._states, _Work(), self._now_ms()
        known, load = states.known_in(slot), self._buckets.loader(slot)
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
        await self._buckets.finish(slot, work.closings)
        await states.write(slot, work.changed)
        for unit, key in touched:
            unit.state = work.changed[key]
        self._counts.buckets += len(work.closings.outgoing)
        self._counts.offline += work.offline

    def _after(self, unit: Unit, unit_id: str, load: Load, now_ms: int, work: _Work) -> UnitState | None:
        """The unit's new state; None when there is nothing to do."""
        watch, state = self._states.configure(unit, unit_id), unit.state
        if watch is None:
            return self._removed(unit_id, state, work)
        buckets = state.buckets
        if buckets is None or not buckets.touched_at_ms:
            return replace(state, buckets=UnitBuckets(touched_at_ms=now_ms))
        handed = self._buckets.hand_over(buckets, state.applied_offset, watch, load, work.closings)
        closed = self._buckets.close_due(buckets, state.applied_offset, watch, load, now_ms, work.closings)
        after = self._judged(unit_id, state, watch.config, buckets.touched_at_ms, now_ms, work)
        return after if after is not state or closed or handed else None

    def _judged(
        self, unit_id: str, state: UnitState, config: m.UnitConfig, touched_ms: int, now_ms: int, work: _Work
    ) -> UnitState:
        """The state after what is due about a unit that is offline, or that sends old readings only."""
        group, offline_group, stale = group_of(config), state.offline_group, state.stale
        if offline_group is not None and offline_group != group:
            work.outgoing.append(_online(unit_id, offline_group, now_ms, "moved to another gateway"))
            offline_group = None
        from_ms = judged_from_ms(config, self._lag.connected_since_ms)
        if stale is not None and sensor_clock.still_arrive(stale, config, now_ms):
            stale, alerts = sensor_clock.decide(unit_id, stale, config, from_ms, now_ms)
            if stale.announced and offline_group is not None:
                work.outgoing.append(_online(unit_id, offline_group, now_ms, "readings arrive with wrong times"))
                offline_group = None
            work.outgoing += map(alert_record, alerts)
        elif offline_group is None:
            last_ms = touched_ms if stale is None else stale.live_at_ms
            offline_ms = offline_at_ms(config, last_ms)
            if now_ms >= max(offline_ms, from_ms):
                offline_group = group
                work.offline += 1
                event = m.UnitOffline(
                    unit_id=unit_id,
                    organization_id=config.organization_id,
                    group=group,
                    since_at_ms=last_ms,
                    at_ms=offline_ms,
                )
                work.outgoing.append(connectivity_record(event))
                work.outgoing += map(alert_record, sensor_clock.ended(unit_id, stale, now_ms, sensor_clock.NO_READINGS))
                if stale is not None:
                    stale = replace(stale, announced=False, paging=False, since_at_ms=now_ms, arrivals=0)
        if offline_group != state.offline_group or stale is not state.stale:
            return replace(state, offline_group=offline_group, stale=stale)
        return state

    def _removed(self, unit_id: str, state: UnitState, work: _Work) -> UnitState | None:
        if not state.breaches and state.offline_group is None and state.stale is None:
            return None
        after, ended = unit_removed(unit_id, state)
        work.outgoing += map(alert_record, ended)
        if state.offline_group is not None:
            work.outgoing.append(_online(unit_id, state.offline_group, self._now_ms(), "unit removed"))
        return replace(after, offline_group=None)


def _online(unit_id: str, group: str, at_ms: int, because: str) -> Outgoing:
    return connectivity_record(m.UnitOnline(unit_id=unit_id, group=group, at_ms=at_ms, because=because))
