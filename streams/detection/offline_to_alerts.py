"""`unit-silences` → `sensor_offline`, `gateway_offline` and their ends → `alerts`."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec
import structlog

from domain.detection.offline import Group, decide, heed
from domain.detection.reading_validation import Refusal
from schemas import messages as m
from schemas.topics import ALERTS, READINGS_DLQ
from streams.detection.dead_readings import dead_letter
from streams.detection.records import alert_record
from streams.engine.consumer import Stale
from streams.engine.publish import PublishError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from streams.detection.counts import DetectionCounts
    from streams.detection.offline_units import Units
    from streams.detection.unit_states import Slot, Table
    from streams.engine.consumer import Batch
    from streams.engine.publish import Outgoing

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.25
# Looking for the units of all gateways anew costs too much for every change of one of them.
INDEX_EVERY_S = 5.0

_encode = msgspec.msgpack.Encoder().encode
_decode_group = msgspec.msgpack.Decoder(Group).decode
_decode_event: msgspec.json.Decoder[m.UnitSilence] = msgspec.json.Decoder(m.UnitSilence)


class GatewayUnits:
    """The configured units of a group, at most five seconds old."""

    def __init__(self, units: Units) -> None:
        self._units = units
        self._version = -1
        self._indexed_s = float("-inf")
        self._by_group: dict[str, list[m.UnitConfig]] = {}

    def of(self, group: str) -> Sequence[m.UnitConfig]:
        kind, _, name = group.partition(":")
        if kind == "unit":
            config = self._units.get(name)
            return () if config is None else (config,)
        if self._version != self._units.version and time.monotonic() - self._indexed_s >= INDEX_EVERY_S:
            self._version, self._indexed_s = self._units.version, time.monotonic()
            self._by_group = defaultdict(list)
            for config in self._units.values():
                if config.gateway_id is not None:
                    self._by_group[config.gateway_id].append(config)
        return self._by_group.get(name, ())


class Offline:
    """Alerts first, then the groups' states. `run` tells what only time decides, until it is cancelled."""

    def __init__(
        self,
        publish: Callable[[Sequence[Outgoing]], Awaitable[None]],
        table: Table,
        units: Units,
        topic_name: Callable[[str], str],
        now_ms: Callable[[], int],
        counts: DetectionCounts,
    ) -> None:
        self._publish = publish
        self._table = table
        self._units_of = GatewayUnits(units).of
        self._alerts_topic = topic_name(ALERTS.name)
        self._dead_topic = topic_name(READINGS_DLQ.name)
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
                    event = _decode_event.decode(record.value or b"")
                except msgspec.MsgspecError as error:
                    refusal = Refusal(record, m.DeadLetterReason.WRONG_SHAPE, str(error))
                    outgoing.append(dead_letter(batch, refusal, self._dead_topic, self._now_ms()))
                    continue
                key = event.group.encode()
                group = groups[key] if key in groups else self._stored(batch, key)
                groups[key] = heed(group, event, record.offset, record.timestamp, alerts)
            await self._go_on(batch, groups, alerts, outgoing)

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
                        await self._again(slot, keys)
                except (PublishError, Stale) as error:
                    log.warning("offline.again", partition=partition, error=repr(error))

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

    async def _again(self, slot: Slot, keys: Collection[bytes]) -> None:
        groups = {key: self._stored(slot, key) for key in keys}
        await self._go_on(slot, groups, [], [], only_changed=True)

    async def _go_on(
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
        outgoing += [alert_record(alert, self._alerts_topic) for alert in alerts]
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
