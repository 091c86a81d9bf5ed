"""What detection knows of each unit: in a table, and while a partition is ours in memory as well."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from domain.detection.aggregate_state import UnitBuckets
from domain.detection.unit_state import UnitState, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from schemas.messages import UnitConfig
    from streams.engine.interfaces import Entries, Slot, Table

encode_state = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(UnitState).decode


class Unit(msgspec.Struct, gc=False):
    """A unit as it is known in one partition: its state, and its configuration as of a version of all of them."""

    state: UnitState
    watch: Watch | None = None
    version: int = -1

    @property
    def buckets(self) -> UnitBuckets:
        assert self.state.buckets is not None
        return self.state.buckets


class UnitStates:
    """Reads through a cache of the partitions that are ours; a new epoch voids it, for the partitions were away.

    Units change in memory before they are written. Whoever fails between the two calls `forget`.
    """

    def __init__(self, table: Table, units: Entries[UnitConfig]) -> None:
        self.table = table
        self._units = units
        self._epochs: dict[int, int] = {}
        self._known: dict[int, dict[bytes, Unit]] = {}
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def version(self) -> int:
        """Of the configuration; a unit of another version must be configured again."""
        return self._units.version

    def lock(self, partition: int) -> asyncio.Lock:
        """Held by whoever reads and writes units of the partition: a flow, or the offline check."""
        return self._locks[partition]

    def known_in(self, slot: Slot) -> dict[bytes, Unit]:
        """The units of the slot's partition that are in memory."""
        if self._epochs.get(slot.partition) != slot.epoch:
            self._epochs[slot.partition] = slot.epoch
            self.forget(slot.partition)
        return self._known.setdefault(slot.partition, {})

    def forget(self, partition: int) -> None:
        self._known.pop(partition, None)

    def stored(self, slot: Slot, key: bytes) -> Unit:
        """The unit as the table has it; a new one where the table has none."""
        return self.find(slot, key) or Unit(UnitState(buckets=UnitBuckets()))

    def find(self, slot: Slot, key: bytes) -> Unit | None:
        raw = self.table.read(slot, key)
        if raw is None:
            return None
        state = _decode(raw)
        if state.buckets is None:
            state = msgspec.structs.replace(state, buckets=UnitBuckets())
        return Unit(state)

    def configure(self, unit: Unit, unit_id: str) -> Watch | None:
        """The unit's newest configuration, made ready; None when it has none."""
        if unit.version != self._units.version:
            unit.version = self._units.version
            config = self._units.get(unit_id)
            if config is None:
                unit.watch = None
            elif unit.watch is None or unit.watch.config is not config:
                unit.watch = Watch.over(config)
        buckets = unit.state.buckets
        if unit.watch is not None and buckets is not None and buckets.organization_id != unit.watch.organization_id:
            # Until its buckets are handed over, whoever meets the unit asks again.
            unit.version = -1
        return unit.watch

    async def write(self, slot: Slot, changed: Mapping[bytes, UnitState]) -> None:
        await self.table.write(slot, {key: encode_state(state) for key, state in changed.items()})

    def scan(self, slot: Slot) -> Iterator[tuple[bytes, UnitState]]:
        return ((key, _decode(raw)) for key, raw in self.table.scan(slot))
