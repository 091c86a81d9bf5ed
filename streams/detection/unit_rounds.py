"""Which units the offline check looks at next: all configured ones in turn, and at once those that were removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.detection.offline import LOOK_WITHIN_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from domain.detection.unit_state import UnitState
    from schemas.messages import UnitConfig
    from streams.engine.interfaces import Entries, Slot

    Scan = Callable[[Slot], Iterator[tuple[bytes, UnitState]]]

AT_LEAST = 500


class UnitRounds:
    """A round takes `LOOK_WITHIN_MS` at a look every `look_every_s`. `partition_of` gives a unit's partition."""

    def __init__(self, units: Entries[UnitConfig], partition_of: Callable[[str], int], look_every_s: float) -> None:
        self._units = units
        self._partition_of = partition_of
        self._looks = int(LOOK_WITHIN_MS / 1000 / look_every_s)
        self._round: list[str] = []
        self._placed: dict[str, int] = {}
        self._version = -1
        self._removed: dict[str, int] = {}
        self._scanned: dict[int, int] = {}

    def next_part(self, owned: Mapping[int, Slot], ready: Collection[int], scan: Scan) -> dict[int, list[str]]:
        """Unit ids by partition, in the partitions that are `ready`."""
        self._follow_removals(owned, ready, scan)
        parts: dict[int, list[str]] = {}
        for unit_id in self._next_of_round():
            partition = self._placed.get(unit_id)
            if partition is None:
                partition = self._placed[unit_id] = self._partition_of(unit_id)
            if partition in ready:
                parts.setdefault(partition, []).append(unit_id)
        for unit_id, partition in self._removed.items():
            if partition in ready:
                parts.setdefault(partition, []).append(unit_id)
        return parts

    def done(self, unit_ids: Iterable[str]) -> None:
        """These units were looked at; removed ones are finished."""
        for unit_id in unit_ids:
            self._removed.pop(unit_id, None)

    def _next_of_round(self) -> list[str]:
        if not self._round:
            self._round = [config.unit_id for config in self._units.values()]
        size = max(AT_LEAST, -(-len(self._placed) // self._looks))
        part = self._round[-size:]
        del self._round[-size:]
        return part

    def _follow_removals(self, owned: Mapping[int, Slot], ready: Collection[int], scan: Scan) -> None:
        """Find units that left the configuration with something open: while we work, and before we had a partition."""
        if self._version != self._units.version:
            self._version = self._units.version
            for unit_id in [unit_id for unit_id in self._placed if self._units.get(unit_id) is None]:
                self._removed[unit_id] = self._placed.pop(unit_id)
        self._removed = {unit_id: partition for unit_id, partition in self._removed.items() if partition in owned}
        self._scanned = {p: epoch for p, epoch in self._scanned.items() if p in owned and owned[p].epoch == epoch}
        for partition in ready:
            if partition not in self._scanned and owned[partition].still_ours():
                self._scanned[partition] = owned[partition].epoch
                for key, state in scan(owned[partition]):
                    unit_id = key.decode(errors="replace")
                    if (state.breaches or state.offline_group or state.stale) and self._units.get(unit_id) is None:
                        self._removed[unit_id] = partition
