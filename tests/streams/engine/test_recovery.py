"""A real store is restored from a changelog whose records were moved by `topics grow`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from faust.types import TP

from broker.growth.moving import SEAL
from streams.engine.recovery import restore
from tests.streams.engine.engine_fakes import FakeClient, Rec
from tests.streams.engine.table_world import TableWorld

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from streams.engine.broker_client import Fetched
    from streams.engine.consumer import Record

pytestmark = pytest.mark.anyio

CHANGELOG = TP("world-rows-changelog", 0)


def row(applied_offset: int, what: str) -> bytes:
    return msgspec.msgpack.encode([applied_offset, what])


class Changelog(FakeClient):
    """`records` are all that is left of it."""

    def __init__(self, records: Sequence[Rec]) -> None:
        super().__init__({CHANGELOG: records[-1].offset + 1})
        self.first[CHANGELOG] = records[0].offset
        self.records = records

    async def fetch(self, partitions: Collection[TP], *, max_records: int, wait_s: float) -> Mapping[TP, Fetched]:
        found = await super().fetch(partitions, max_records=max_records, wait_s=wait_s)
        return {
            tp: run._replace(records=[r for r in self.records if run.position <= r.offset < run.next_position])
            for tp, run in found.items()
        }


async def restored(world: TableWorld, client: FakeClient) -> dict[bytes, bytes]:
    store = world.table.store
    changelogs = SimpleNamespace(
        stored_offset=lambda tp: store.offset(tp.partition),
        drop=lambda tp: store.drop(tp.partition),
        restore=lambda tp, records: _apply(world, tp, records),
    )
    await restore(client, cast("Any", changelogs), [CHANGELOG], stall_limit_s=5)
    return dict(store.scan(0))


def _apply(world: TableWorld, tp: TP, records: Sequence[Record]) -> None:
    if records:
        world.table.restore(tp, records)


@pytest.mark.parametrize("kind", ["memory", "rocksdb"])
async def test_a_folder_from_before_a_growth_shows_neither_rows_that_moved_away_nor_offsets_of_the_former_partition(
    kind: str, tmp_path: Path
) -> None:
    world = TableWorld(tmp_path, kind)
    # It knew everything up to the last record before the seal, which is deleted with all before it.
    world.table.store.apply(0, {b"moved": row(900, "former"), b"stays": row(900, "former")}, 41)
    client = Changelog([Rec(43, CHANGELOG.topic, 0, key=b"stays", value=row(7, "now"))])
    assert await restored(world, client) == {b"stays": row(7, "now")}
    assert world.table.store.offset(0) == 43


@pytest.mark.parametrize("kind", ["memory", "rocksdb"])
async def test_a_folder_that_was_there_after_a_growth_is_read_on_from(kind: str, tmp_path: Path) -> None:
    world = TableWorld(tmp_path, kind)
    world.table.store.apply(0, {b"stays": row(8, "kept")}, 43)
    client = Changelog(
        [
            Rec(42, CHANGELOG.topic, 0, key=SEAL),
            *(Rec(n, CHANGELOG.topic, 0, key=b"new", value=row(n, "")) for n in (43, 44)),
        ]
    )
    assert await restored(world, client) == {b"stays": row(8, "kept"), b"new": row(44, "")}
