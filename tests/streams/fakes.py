"""Hand-written stand-ins for what flows talk to: the broker, a table, a partition, configuration, the clock."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from schemas.messages import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from streams.engine.consumer import Record
    from streams.engine.interfaces import Slot
    from streams.engine.publish import Outgoing

T = TypeVar("T")
NOW_MS = 1_795_000_000_000


class FakeRecord(msgspec.Struct):
    value: bytes | None
    key: bytes | None = b"user-1"
    offset: int = 0
    topic: str = "topic"
    partition: int = 0
    timestamp: int = NOW_MS
    headers: Sequence[tuple[str, bytes]] = ()


class FakeBatch:
    """Records in a partition that can be taken away."""

    def __init__(self, values: Iterable[object], *, topic: str = "topic") -> None:
        raw = [value if isinstance(value, bytes) else encode(value) for value in values]
        self.records: Sequence[Record] = [
            FakeRecord(value, offset=offset, topic=topic) for offset, value in enumerate(raw)
        ]
        self.topic = topic
        self.partition = 0
        self.epoch = 1
        self.ours = True
        self.ending = False

    def part(self, records: Sequence[Record]) -> FakeBatch:
        part = copy.copy(self)
        part.records = records
        return part

    def still_ours(self) -> bool:
        return self.ours

    def must_end(self) -> bool:
        return self.ending


class FakeBroker:
    """Keeps what was published, in order."""

    def __init__(self) -> None:
        self.published: list[Outgoing] = []

    async def publish(self, records: Sequence[Outgoing]) -> None:
        self.published += records

    def values(self, topic: str) -> list[bytes]:
        return [record.value for record in self.published if record.topic.name == topic and record.value is not None]

    def decoded(self, topic: str, kind: type[T]) -> list[T]:
        decode = msgspec.json.Decoder(kind).decode
        return [decode(value) for value in self.values(topic)]


class FakeTable:
    """A table of one partition that is always ours."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}

    def read(self, batch: object, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def owned(self) -> Sequence[Slot]:
        return [FakeBatch([])]

    def at_work(self) -> AbstractContextManager[None]:
        return nullcontext()

    def scan(self, slot: object) -> Iterator[tuple[bytes, bytes]]:
        return iter(list(self.rows.items()))

    async def delete_unchanged(self, slot: object, judged: Mapping[bytes, bytes]) -> int:
        gone = [key for key, value in judged.items() if self.rows.get(key) == value]
        await self.write(slot, dict.fromkeys(gone))
        return len(gone)

    async def write(self, batch: object, items: Mapping[bytes, bytes | None], *, durable: bool = False) -> None:
        for key, value in items.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value


class FakeReference(Generic[T]):
    """A configuration topic in memory."""

    def __init__(self, **entries: T) -> None:
        self.version = 1
        self._entries = {name.replace("_", "-"): entry for name, entry in entries.items()}

    def get(self, entry_id: str) -> T | None:
        return self._entries.get(entry_id)

    def values(self) -> Iterable[T]:
        return self._entries.values()
