"""A data folder that is older than the changelog's deletions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from streams.engine import stores
from streams.engine.changelog import HOUR_MS, TOMBSTONES_MS
from tests.streams.engine.table_world import Place, TableWorld

if TYPE_CHECKING:
    from pathlib import Path

    from streams.engine.stores import PartitionStore

pytestmark = pytest.mark.anyio

NOW_MS = 1_795_000_000_000


def reopened_after(folder: Path, age_ms: int, monkeypatch: pytest.MonkeyPatch) -> PartitionStore:
    """The store as the next process finds it, which opens it so much later."""
    monkeypatch.setattr(stores, "now_ms", lambda: NOW_MS)
    former = TableWorld(folder, "rocksdb").table.store
    former.apply(0, {b"a": b"1"}, 7)
    former._dbs.pop(0).close()  # type: ignore[attr-defined]
    monkeypatch.setattr(stores, "now_ms", lambda: NOW_MS + age_ms)
    return TableWorld(folder, "rocksdb").table.store


@pytest.mark.parametrize("age_ms", [0, -HOUR_MS + 1, TOMBSTONES_MS - 2 * HOUR_MS])
def test_a_folder_that_missed_no_deletion_is_kept(tmp_path: Path, age_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    store = reopened_after(tmp_path, age_ms, monkeypatch)
    assert (store.read(0, b"a"), store.offset(0)) == (b"1", 7)
    assert list(store.scan(0)) == [(b"a", b"1")]


@pytest.mark.parametrize("age_ms", [TOMBSTONES_MS, TOMBSTONES_MS - HOUR_MS, -2 * HOUR_MS])
def test_a_folder_that_may_have_missed_deletions_is_dropped(
    tmp_path: Path, age_ms: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = reopened_after(tmp_path, age_ms, monkeypatch)
    assert (store.read(0, b"a"), store.offset(0)) == (None, None)
    assert list(store.scan(0)) == []
    assert "store.dropped" in capsys.readouterr().out
    store.apply(0, {b"b": b"2"}, 0)
    assert store.read(0, b"b") == b"2"


async def test_a_restored_or_acknowledged_write_makes_the_folder_young_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = reopened_after(tmp_path, TOMBSTONES_MS - 2 * HOUR_MS, monkeypatch)
    store.apply(0, {}, 8)
    store._dbs.pop(0).close()  # type: ignore[attr-defined]
    monkeypatch.setattr(stores, "now_ms", lambda: NOW_MS + TOMBSTONES_MS)
    assert TableWorld(tmp_path, "rocksdb").table.read(Place(), b"a") == b"1"
