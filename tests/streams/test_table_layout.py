"""Where the rows of workers' tables belong: no table is forgotten, and each row goes where its key's records go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from broker.growth.journal import Plan, Sum
from broker.growth.moving import Copied, partition_of
from domain.digest.plan import Plan as DigestPlan
from schemas import topics as t
from streams import apps
from streams.engine.settings import WorkerSettings
from streams.engine.timer_rows import TimerRow
from streams.recorder.routes import ROUTES
from streams.table_layout import LAYOUT, TABLES, key_of_timer

if TYPE_CHECKING:
    from pathlib import Path

    from broker.growth.layout import WorkerLayout

ENVIRONMENT = {
    "TELNYX_API_KEY": "none",
    "TELNYX_FROM": "+12025550100",
    "TELNYX_MESSAGING_PROFILE_ID": "none",
    "DATABASE_URL": "postgresql://127.0.0.1:1/none",
    "PUBLIC_URL": "http://127.0.0.1:8080",
    "UNSUBSCRIBE_SECRET": "x" * 32,
}


@pytest.mark.parametrize("worker", LAYOUT.workers, ids=lambda worker: worker.name)
def test_every_table_of_a_worker_is_listed(
    worker: WorkerLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setattr(WorkerSettings, "partitions", lambda *_: 4)
    app = apps.build(worker.name)
    assert set(app.tables) == {table.name for table in worker.tables}
    assert set(app.batch_sizes) == set(worker.reads)


def test_what_the_recorder_reads_must_be_read_before_it_grows() -> None:
    read = {route.topic.name for route in ROUTES if not route.topic.compacted}
    assert set(LAYOUT.drained["recorder"]) == read
    assert LAYOUT.compacted & set(LAYOUT.topics) == {t.DIGEST_PREFERENCES.name}


def test_a_plan_holds_the_offset_of_its_preference_where_the_layout_says() -> None:
    (plans, *_) = TABLES["digests"]
    row = msgspec.msgpack.decode(msgspec.msgpack.encode(DigestPlan(version=3, offset=77)))
    assert row[plans.offset_at] == 77


def test_a_timer_belongs_to_the_key_that_it_publishes() -> None:
    row = TimerRow(1, 2, "escalations", b"unit-1", b"", ())
    assert key_of_timer(b"escalation.a", msgspec.msgpack.encode(row)) == b"unit-1"


def test_an_offset_in_a_row_becomes_that_of_the_last_copy_that_the_row_contains() -> None:
    copied = Copied([100, 0])
    for offset, new_offset in ((10, 100), (12, 101), (13, 102)):
        copied.note(3, 0, offset, new_offset)
    copied.note(2, 0, 11, 103)
    assert [copied.translated(3, 0, applied) for applied in (9, 10, 11, 12, 50)] == [99, 100, 100, 101, 102]
    assert copied.translated(3, 1, 50) == -1


def test_sums_tell_rows_apart_in_any_order() -> None:
    one, other, third = Sum(), Sum(), Sum()
    for key, value in ((b"a", b"1"), (b"b", b"2")):
        one.add(key, value)
    for key, value in ((b"b", b"2"), (b"a", b"1")):
        other.add(key, value)
    for key, value in ((b"a", b"2"), (b"b", b"1")):
        third.add(key, value)
    assert one == other != third
    assert msgspec.json.decode(msgspec.json.encode(Plan(12, {"a": 4})), type=Plan) == Plan(12, {"a": 4})


def test_keys_go_where_producers_put_them() -> None:
    assert {partition_of(b"unit-%d" % number, 12) for number in range(200)} == set(range(12))
