"""Where a table keeps its values on this machine: a RocksDB or a dictionary for each partition."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

import rocksdict
import structlog
from faust.stores import memory, rocksdb

from streams.engine.changelog import HOUR_MS, TOMBSTONES_MS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from faust.types import TP

log = structlog.get_logger(__name__)

# A recovery that begins with tombstones still there must end with them.
RECOVERY_MS = HOUR_MS

# Of each partition of each table; four partitions of two tables stay below 100 MB with these.
ROCKSDB_OPTIONS = {
    "write_buffer_size": 8 << 20,
    "max_write_buffer_number": 2,
    "block_cache_size": 8 << 20,
    "target_file_size_base": 16 << 20,
}


def now_ms() -> int:
    return int(time.time() * 1000)


class PartitionStore(Protocol):
    """What a table asks of its store. `offset` is that of the newest changelog record that the values contain."""

    def read(self, partition: int, key: bytes) -> bytes | None: ...
    def apply(self, partition: int, items: Mapping[bytes, bytes | None], offset: int | None = None) -> None: ...
    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]: ...
    def offset(self, partition: int) -> int | None: ...
    def drop(self, partition: int) -> None: ...


class MemoryStore(memory.Store):  # type: ignore[misc]
    """A dictionary a partition, dropped when the partition goes: Faust's own shows keys of partitions that went."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._partitions: dict[int, dict[bytes, bytes]] = {}
        self._offsets: dict[int, int] = {}

    def read(self, partition: int, key: bytes) -> bytes | None:
        return self._of(partition).get(key)

    def apply(self, partition: int, items: Mapping[bytes, bytes | None], offset: int | None = None) -> None:
        values = self._of(partition)
        for key, value in items.items():
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value
        if offset is not None:
            self._offsets[partition] = offset

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        return iter(list(self._of(partition).items()))

    def offset(self, partition: int) -> int | None:
        return self._offsets.get(partition)

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        del assigned, newly_assigned, generation_id
        for tp in revoked:
            if tp.topic in self.table.changelog_topic.topics:
                self.drop(tp.partition)

    def drop(self, partition: int) -> None:
        self._partitions.pop(partition, None)
        self._offsets.pop(partition, None)

    def _of(self, partition: int) -> dict[bytes, bytes]:
        return self._partitions.setdefault(partition, {})


class RocksDBStore(rocksdb.Store):  # type: ignore[misc]
    """A database a partition; Faust opens and closes them, and knows the key under which their offset lies."""

    as_of_key = b"__freshtrack\0as_of_ms__"

    def _open_for_partition(self, partition: int) -> Any:  # noqa: ANN401 - rocksdict ships no types
        """Drop what is older than the changelog's deletions: recovery would miss those, and keys would come back."""
        db = super()._open_for_partition(partition)
        if (offset := db.get(self.offset_key)) is None:
            return db
        as_of_ms = int(db.get(self.as_of_key) or 0)
        age_ms = now_ms() - as_of_ms
        if -HOUR_MS < age_ms < TOMBSTONES_MS - RECOVERY_MS:
            return db
        path = self.partition_path(partition)
        log.warning("store.dropped", path=str(path), offset=int(offset), as_of_ms=as_of_ms, limit_ms=TOMBSTONES_MS)
        db.close()
        rocksdict.Rdict.destroy(str(path))
        return super()._open_for_partition(partition)

    def read(self, partition: int, key: bytes) -> bytes | None:
        value: bytes | None = self._db_for_partition(partition).get(key)
        return value

    def apply(self, partition: int, items: Mapping[bytes, bytes | None], offset: int | None = None) -> None:
        batch: Any = rocksdict.WriteBatch(raw_mode=True)
        for key, value in items.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        if offset is not None:
            # In the same write: an offset must never be on the disk without the values that it stands for.
            batch.put(self.offset_key, str(offset).encode())
            batch.put(self.as_of_key, str(now_ms()).encode())
        self._db_for_partition(partition).write(batch)

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        # A list, for an iterator would keep the database open, and locked, after its partition went.
        db = self._db_for_partition(partition)
        own = (self.offset_key, self.as_of_key)
        return iter([(key, value) for key, value in db.items() if key not in own])

    def offset(self, partition: int) -> int | None:
        raw = self._db_for_partition(partition).get(self.offset_key)
        return None if raw is None else int(raw)

    def drop(self, partition: int) -> None:
        """Its own offset as well."""
        db = self._db_for_partition(partition)
        batch: Any = rocksdict.WriteBatch(raw_mode=True)
        for key in db.keys():  # noqa: SIM118 - no dictionary
            batch.delete(key)
        db.write(batch)
