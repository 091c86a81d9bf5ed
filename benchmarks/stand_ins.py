"""What stands in for Kafka where only the work between its topics is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from schemas.messages import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

T = TypeVar("T")


class MemoryRecord(msgspec.Struct):
    """A record that somebody read."""

    value: bytes
    offset: int
    key: bytes | None = None
    topic: str = "topic"
    partition: int = 0
    timestamp: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


class MemoryBatch:
    """Records of a partition that stays ours."""

    def __init__(self, values: Iterable[object]) -> None:
        raw = (value if isinstance(value, bytes) else encode(value) for value in values)
        self.records = [MemoryRecord(value, offset) for offset, value in enumerate(raw)]
        self.topic, self.partition, self.epoch = "topic", 0, 1

    def still_ours(self) -> bool:
        return True

    def must_end(self) -> bool:
        return False


class MemoryTable:
    """A table without a changelog."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}

    def read(self, _: object, key: bytes) -> bytes | None:
        return self._rows.get(key)

    async def write(self, _: object, items: Mapping[bytes, bytes | None], *, durable: bool = False) -> None:  # noqa: ARG002
        for key, value in items.items():
            if value is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = value


class MemoryEntries(Generic[T]):
    """A configuration topic in memory."""

    version = 1

    def __init__(self, entries: Mapping[str, T]) -> None:
        self._entries = entries

    def get(self, entry_id: str) -> T | None:
        return self._entries.get(entry_id)

    def values(self) -> Iterable[T]:
        return self._entries.values()
