"""What was written to a table and is not in its changelog yet: seen by reads, held in memory only. Pure."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from streams.engine.stores import PartitionStore

Run: TypeAlias = "Mapping[bytes, bytes | None]"


class OutOfOrderError(RuntimeError):
    """The broker has a later run and not the one before it: the store would be what the changelog never was."""


class Unacknowledged:
    """Runs of rows by partition, oldest first, over the store that gets them when they arrive; None: deleted."""

    def __init__(self) -> None:
        self._runs: defaultdict[int, deque[Run]] = defaultdict(deque)

    def add(self, partition: int, run: Run) -> None:
        self._runs[partition].append(run)

    def arrived(self, partition: int, run: Run) -> bool:
        """Take the oldest run out. False for one that is not here any more, because its partition went meanwhile.

        Raises OutOfOrderError while an earlier run has not arrived.
        """
        runs = self._runs[partition]
        if runs and runs[0] is run:
            runs.popleft()
            return True
        if any(waiting is run for waiting in runs):
            raise OutOfOrderError(f"partition {partition}: {len(run)} rows were acknowledged before earlier ones")
        return False

    def clear(self) -> None:
        self._runs.clear()

    def read(self, store: PartitionStore, partition: int, key: bytes) -> bytes | None:
        """The newest value of the key."""
        for run in reversed(self._runs[partition]):
            if key in run:
                return run[key]
        return store.read(partition, key)

    def scan(self, store: PartitionStore, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Every key and its newest value."""
        rows: dict[bytes, bytes | None] = dict(store.scan(partition))
        for run in self._runs[partition]:
            rows |= run
        return ((key, value) for key, value in rows.items() if value is not None)
