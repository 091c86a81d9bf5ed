"""`unit-silences` → `sensor_offline`, `gateway_offline` and their ends → `alerts`."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec
import structlog

from domain.detection.offline import Group, apply, decide
from domain.detection.reading_validation import Refusal
from schemas import messages as m
from schemas.topics import UNIT_CONNECTIVITY
from streams.detection.dead_readings import dead_letter
from streams.detection.gateway_units import GatewayUnits
from streams.detection.records import alert_record
from streams.engine.consumer import Stale
from streams.engine.publish import PublishError

if TYPE_CHECKING:
    from collections.abc import Collection

    from streams.detection.counts import DetectionCounts
    from streams.engine.consumer import Batch
    from streams.engine.interfaces import Clock, Entries, Publish, Slot, Table
    from streams.engine.publish import Outgoing

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.25

_encode = msgspec.msgpack.Encoder().encode
_decode_group = msgspec.msgpack.Decoder(Group).decode


class OfflineAlerts:
    """Alerts first, then the groups' states. `run` decides what depends on time alone, until it is cancelled."""

    def __init__(
        self, publish: Publish, table: Table, units: Entries[m.UnitConfig], now_ms: Clock, counts: DetectionCounts
    ) -> None:
        self._publish = publish
        self._table = table
        self._units_of = GatewayUnits(units).of
        self._now_ms = now_ms
        self._counts = counts
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._slots: dict[int, Slot] = {}
        self._undecided: dict[int, set[bytes]] = {}

    async def handle(self, batch: Batch) -> None:
        async with self._locks[batch.partition]:
            outgoing: list[Outgoing] = []
            alerts: list[m.Alert] = []
            groups: dict[bytes, Group] = {}
            for record in batch.records:
                try:
                    event = UNIT_CONNECTIVITY.decode(record.value)
                except msgspec.MsgspecError as error:
                    refusal = Refusal(record, m.DeadLetterReason.WRONG_SHAPE, str(error))
                    outgoing.append(dead_letter(batch, refusal, self._now_ms()))
                    continue
                key = event.group.encode()
                group = groups[key] if key in groups else self._stored(batch, key)
                groups[key] = apply(group, event, record.offset, record.timestamp, alerts)
            await self._finish(batch, groups, alerts, outgoing)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Decide what time has decided, in the partitions that are ours."""
        self._follow_assignment()
        # A batch may bring another partition while an alert is on its way.
        for partition, keys in list(self._undecided.items()):
            slot = self._slots.get(partition)
            if not keys or slot is None:
                continue
            async with self._locks[partition]:
                try:
                    if slot.still_ours():
                        await self._look_at(slot, keys)
                except (PublishError, Stale) as error:
                    log.warning("offline.retried", partition=partition, error=repr(error))

    def _follow_assignment(self) -> None:
        owned = {slot.partition: slot for slot in self._table.owned()}
        self._undecided = {p: self._undecided.get(p, set()) for p in owned}
        for partition, slot in owned.items():
            known = self._slots.get(partition)
            if known is None or known.epoch != slot.epoch:
                self._undecided[partition] = {
                    key for key, raw in self._table.scan(slot) if _decode_group(raw).undecided
                }
        self._slots = owned

    async def _look_at(self, slot: Slot, keys: Collection[bytes]) -> None:
        groups = {key: self._stored(slot, key) for key in keys}
        await self._finish(slot, groups, [], [], only_changed=True)

    async def _finish(
        self,
        slot: Slot,
        groups: dict[bytes, Group],
        alerts: list[m.Alert],
        outgoing: list[Outgoing],
        *,
        only_changed: bool = False,
    ) -> None:
        now_ms, changed = self._now_ms(), {}
        for key, group in groups.items():
            after, due = decide(group, self._units_of(key.decode()), now_ms)
            alerts += due
            if after is not group or not only_changed:
                changed[key] = after
        outgoing += map(alert_record, alerts)
        if outgoing:
            await self._publish(outgoing)
        await self._table.write(slot, {key: _encode(group) for key, group in changed.items()})
        undecided = self._undecided.setdefault(slot.partition, set())
        for key, group in changed.items():
            (undecided.add if group.undecided else undecided.discard)(key)
        self._counts.add_outputs(alerts, ())

    def _stored(self, slot: Slot, key: bytes) -> Group:
        raw = self._table.read(slot, key)
        return Group() if raw is None else _decode_group(raw)
