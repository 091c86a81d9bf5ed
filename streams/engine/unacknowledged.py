"""What was written to a table and is not in its changelog yet: seen by reads, held in memory only. Pure."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Run: TypeAlias = "Mapping[bytes, bytes | None]"


class Absent:
    """Stands for a key that no run has: None is a deletion."""


ABSENT: Final = Absent()


class Unacknowledged:
    """Runs of rows by partition, oldest first. They arrive in the order in which they were added."""

    def __init__(self) -> None:
        self._runs: defaultdict[int, deque[Run]] = defaultdict(deque)

    def add(self, partition: int, run: Run) -> None:
        self._runs[partition].append(run)

    def arrived(self, partition: int, run: Run) -> bool:
        """Take the oldest run out. False for another one: its partition went, or an earlier run failed."""
        runs = self._runs[partition]
        if not runs or runs[0] is not run:
            return False
        runs.popleft()
        return True

    def clear(self) -> None:
        self._runs.clear()

    def find(self, partition: int, key: bytes) -> bytes | Absent | None:
        for run in reversed(self._runs[partition]):
            if key in run:
                return run[key]
        return ABSENT

    def over(
        self, partition: int, keys: Sequence[bytes], stored: Callable[[list[bytes]], list[bytes | None]]
    ) -> list[bytes | None]:
        """The values of the keys; `stored` gives those that no run has."""
        if not self._runs[partition]:
            return stored(list(keys))
        found = {key: self.find(partition, key) for key in keys}
        absent = [key for key, value in found.items() if value is ABSENT]
        found |= dict(zip(absent, stored(absent), strict=True))
        return [None if isinstance(value, Absent) else value for value in map(found.__getitem__, keys)]

    def over_all(self, partition: int, stored: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        """Every key and value, given all that is `stored`."""
        if not self._runs[partition]:
            return stored
        rows: dict[bytes, bytes | None] = dict(stored)
        for run in self._runs[partition]:
            rows |= run
        return ((key, value) for key, value in rows.items() if value is not None)
