"""Stand-ins for what detection talks to: tables with partitions, partitions that are ours, units, the broker."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, TypeVar, cast

from schemas.topics import ALERTS, READINGS_DLQ, UNIT_AGGREGATES, UNIT_CONNECTIVITY
from streams.engine.consumer import Batch
from streams.engine.partition import OffsetRange

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from schemas import messages as m
    from schemas.topic import AnyTopic, Topic
    from streams.engine.group_member import GroupMember
    from streams.engine.interfaces import Slot
    from streams.engine.publish import Outgoing
    from tests.domain.detection.records import Raw

T = TypeVar("T")


class FakeSlot:
    """A partition in an epoch, until it is taken away."""

    def __init__(self, partition: int = 0, epoch: int = 1) -> None:
        self.partition = partition
        self.epoch = epoch
        self.ours = True

    def still_ours(self) -> bool:
        return self.ours


class FakeTable:
    """Keeps bytes by partition and key; `fail` makes the next write raise."""

    def __init__(self, *slots: FakeSlot) -> None:
        self.slots: Sequence[Slot] = slots
        self.values: dict[tuple[int, bytes], bytes] = {}
        self.written: list[set[bytes]] = []
        self.fail: Callable[[], Exception] | None = None

    def read(self, slot: Slot, key: bytes) -> bytes | None:
        return self.values.get((slot.partition, key))

    def scan(self, slot: Slot) -> Iterator[tuple[bytes, bytes]]:
        return iter([(key, value) for (partition, key), value in self.values.items() if partition == slot.partition])

    def at_work(self) -> AbstractContextManager[None]:
        return nullcontext()

    def owned(self) -> Sequence[Slot]:
        return [slot for slot in self.slots if slot.still_ours()]

    async def write(self, slot: Slot, items: Mapping[bytes, bytes | None], *, durable: bool = False) -> None:
        if self.fail is not None:
            raise self.fail()
        for key, value in items.items():
            if value is None:
                self.values.pop((slot.partition, key), None)
            else:
                self.values[slot.partition, key] = value
        self.written.append(set(items))

    async def delete_unchanged(self, slot: Slot, judged: Mapping[bytes, bytes]) -> int:
        gone = [key for key, value in judged.items() if self.read(slot, key) == value]
        await self.write(slot, dict.fromkeys(gone))
        return len(gone)


class FakeUnits:
    def __init__(self, *configs: m.UnitConfig) -> None:
        self.version = 0
        self._configs = {config.unit_id: config for config in configs}

    def get(self, entry_id: str) -> m.UnitConfig | None:
        return self._configs.get(entry_id)

    def values(self) -> Iterable[m.UnitConfig]:
        return self._configs.values()

    def set(self, config: m.UnitConfig) -> None:
        self._configs[config.unit_id] = config
        self.version += 1

    def remove(self, unit_id: str) -> None:
        del self._configs[unit_id]
        self.version += 1


class FakeLag:
    """Partitions that are caught up, and since when contact with the broker is unbroken."""

    def __init__(self, *partitions: int, connected_since_ms: int = 0) -> None:
        self.partitions = set(partitions)
        self.connected_since_ms = connected_since_ms

    async def caught_up(self, partitions: Collection[int]) -> frozenset[int]:
        return frozenset(self.partitions.intersection(partitions))


class FakeBroker:
    """Keeps what was published, in order; `fail` makes the next call raise."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.fail: Callable[[], Exception] | None = None

    async def publish(self, outgoing: Sequence[Outgoing]) -> None:
        if self.fail is not None:
            raise self.fail()
        self.sent += outgoing

    async def publish_run(self, topic: AnyTopic, partition: int, outgoing: Sequence[Outgoing]) -> None:
        await self.publish(outgoing)

    def alerts(self) -> list[m.Alert]:
        return self._of(ALERTS)

    def connectivity(self) -> list[m.UnitConnectivity]:
        return self._of(UNIT_CONNECTIVITY)

    def buckets(self) -> list[m.AggregateBucket]:
        return self._of(UNIT_AGGREGATES)

    def letters(self) -> list[m.DeadReading]:
        return self._of(READINGS_DLQ)

    def _of(self, topic: Topic[T]) -> list[T]:
        return [topic.decode(out.value) for out in self.sent if out.topic is topic]


def batch_of(records: Sequence[Raw], *, topic: str = "test.readings", partition: int = 0, epoch: int = 1) -> Batch:
    taken = OffsetRange(0, len(records))
    message = SimpleNamespace(topic=topic, partition=partition, value=list(records), range=taken, source=None)
    return Batch(cast("GroupMember", SimpleNamespace(epoch_of=lambda _: epoch, in_contact=lambda: True)), message)
