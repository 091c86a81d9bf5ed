"""One partition at the fake broker: records at offsets, with gaps, and what cleaning takes away."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Headers = tuple[tuple[str, bytes], ...]


class SimRecord(NamedTuple):
    """A record as aiokafka gives it, as far as the engine looks."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Unsent(NamedTuple):
    """A record before it has an offset."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class OffsetOutOfRange(Exception):  # noqa: N818 - the protocol's name
    """There is nothing at this offset, and never will be."""


class PartitionLog:
    """`start` is the first offset that may be read, `end` that of the next record. `has_leader`: it answers."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.start = 0
        self.end = 0
        # Called, once, when there may be something new to read.
        self.waiting: list[Callable[[], None]] = []
        self._has_leader = True
        self.records: list[SimRecord] = []
        # Everything ever appended: for invariants, whatever cleaning does.
        self.history: list[SimRecord] = []

    @property
    def has_leader(self) -> bool:
        return self._has_leader

    @has_leader.setter
    def has_leader(self, has_leader: bool) -> None:
        self._has_leader = has_leader
        self._changed()

    def _changed(self) -> None:
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            call()

    def append(self, records: Sequence[Unsent], timestamp: int) -> int:
        """Returns the offset of the first."""
        first = self.end
        for record in records:
            kept = SimRecord(self.topic, self.partition, self.end, timestamp, *record)
            self.records.append(kept)
            self.history.append(kept)
            self.end += 1
        self._changed()
        return first

    def end_transaction(self) -> None:
        """The marker of a transaction takes an offset that no consumer sees."""
        self.end += 1
        self._changed()

    def read(self, offset: int, limit: int) -> list[SimRecord]:
        if not self.start <= offset <= self.end:
            raise OffsetOutOfRange(f"{self.topic}[{self.partition}] {offset} is not in {self.start}..{self.end}")
        index = bisect_left(self.records, offset, key=lambda record: record.offset)
        return self.records[index : index + limit]

    def retain_from(self, offset: int) -> None:
        """Retention took everything before `offset`."""
        self.start = max(self.start, min(offset, self.end))
        self.records = [record for record in self.records if record.offset >= self.start]
        self._changed()

    def truncate(self, offset: int) -> None:
        """An unclean leader lost everything from `offset` on."""
        self.end = max(self.start, min(self.end, offset))
        self.records = [record for record in self.records if record.offset < self.end]
        self.history = [record for record in self.history if record.offset < self.end]
        self._changed()

    def compact(self, before_ms: int, tombstones_before_ms: int) -> int:
        """Keep the newest record of each key; returns how many went.

        Records younger than `before_ms` stay as they are; a tombstone goes once it is older than the second limit.
        """
        newest = {record.key: record.offset for record in self.records if record.timestamp < before_ms}
        kept = [
            record
            for record in self.records
            if record.timestamp >= before_ms
            or (
                newest[record.key] == record.offset
                and (record.value is not None or record.timestamp >= tombstones_before_ms)
            )
        ]
        removed = len(self.records) - len(kept)
        self.records = kept
        return removed
