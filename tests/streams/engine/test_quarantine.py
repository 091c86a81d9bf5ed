"""A record on which our code fails alone is set aside; what speaks of the surroundings ends the worker as ever."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import structlog
from aiokafka.errors import KafkaError
from sqlalchemy.exc import OperationalError

from schemas import messages as m
from schemas.topics import SMS_DLQ
from streams.engine import alarms
from streams.engine.consumer import Stale
from streams.engine.publish import PublishError, RecordTooLargeError
from streams.engine.quarantine import Quarantine
from streams.engine.recent_failures import RecentFailures, TooManyFailuresError
from streams.engine.unreadable import quarantined
from tests.streams.fakes import NOW_MS, FakeBatch, FakeRecord
from tests.streams.planted import Kept, PlantedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streams.engine.consumer import Batch

pytestmark = pytest.mark.anyio


class Flow:
    """Sums each key's values in a state that remembers the offset it contains; `bad` records raise."""

    def __init__(self, *bad: int, error: Callable[[], Exception] = PlantedError) -> None:
        self.bad = set(bad)
        self.error = error
        self.total, self.applied_offset = 0, -1
        self.calls = 0

    async def handle(self, batch: Batch) -> None:
        self.calls += 1
        total, applied = self.total, self.applied_offset
        for record in batch.records:
            if record.offset in self.bad:
                raise self.error()
            if record.offset > applied:
                total, applied = total + 1, record.offset
        self.total, self.applied_offset = total, applied


def batch_of(count: int) -> Any:
    return FakeBatch([b"{}"] * count)


@pytest.mark.parametrize("bad", [0, 1, 49, 98, 99])
async def test_the_one_record_that_fails_is_set_aside_and_the_others_count_once(bad: int, tmp_path: Path) -> None:
    flow = Flow(bad)
    kept = Kept(tmp_path, flow.handle)
    await kept.handle(batch_of(100))
    assert kept.offsets == [bad]
    assert flow.total == 99


async def test_nothing_behind_a_record_is_handled_before_it_is_set_aside(tmp_path: Path) -> None:
    seen: list[str] = []

    async def handle(batch: Batch) -> None:
        offsets = [record.offset for record in batch.records]
        if 2 in offsets:
            raise PlantedError
        seen.extend(f"handled {offset}" for offset in offsets)

    async def keep(batch: Batch, why: str) -> None:
        seen.append(f"set aside {batch.records[0].offset}")

    quarantine = Quarantine(handle, keep, RecentFailures(tmp_path / "failures.json", 3))
    await quarantine.handle(batch_of(4))
    assert seen == ["handled 0", "handled 1", "set aside 2", "handled 3"]


@pytest.mark.parametrize(
    "error",
    [
        Stale,
        PublishError,
        TimeoutError,
        ConnectionResetError,
        KafkaError,
        asyncpg.ConnectionDoesNotExistError,
        lambda: OperationalError("SELECT 1", {}, Exception("the server is away")),
        MemoryError,
    ],
)
async def test_what_speaks_of_the_surroundings_ends_the_worker(error: Callable[[], Exception], tmp_path: Path) -> None:
    flow = Flow(1, error=error)
    kept = Kept(tmp_path, flow.handle)
    with pytest.raises(type(error())):
        await kept.handle(batch_of(4))
    assert (kept.offsets, flow.calls) == ([], 1)


async def test_a_record_whose_consequences_no_topic_takes_is_set_aside(tmp_path: Path) -> None:
    kept = Kept(tmp_path, Flow(0, error=RecordTooLargeError).handle)
    await kept.handle(batch_of(2))
    assert kept.offsets == [0]


async def test_the_third_within_a_minute_ends_the_worker(tmp_path: Path) -> None:
    kept = Kept(tmp_path, Flow(*range(100)).handle)
    with pytest.raises(TooManyFailuresError, match=r"3 records within a minute.*QUARANTINE_LIMIT"):
        await kept.handle(batch_of(100))
    assert kept.offsets == [0, 1]


async def test_a_worker_that_is_started_again_and_again_throws_no_topic_away(tmp_path: Path) -> None:
    set_aside, next_offset = 0, 0
    for restart in range(10):
        kept = Kept(tmp_path, Flow(*range(1_000)).handle)
        kept.now_ms = restart * 20_000
        with pytest.raises(TooManyFailuresError):
            await kept.handle(FakeBatch([b"{}"] * (1_000 - next_offset)))
        set_aside += len(kept.offsets)
        next_offset += len(kept.offsets)
    assert set_aside == 2


async def test_two_a_minute_may_be_set_aside_for_ever(tmp_path: Path) -> None:
    kept = Kept(tmp_path, Flow(*range(10)).handle)
    for _ in range(10):
        await kept.handle(batch_of(1))
        kept.now_ms += 30_000
    assert len(kept.reasons) == 10


def test_a_file_that_was_half_written_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "failures.json").write_text('[1, "x')
    RecentFailures(tmp_path / "failures.json", 3, lambda: 0).note("why")
    assert json.loads((tmp_path / "failures.json").read_text()) == [0]


async def test_of_a_partition_that_went_nothing_is_set_aside(tmp_path: Path) -> None:
    batch = batch_of(1)
    batch.ours = False
    kept = Kept(tmp_path, Flow(0).handle)
    with pytest.raises(Stale):
        await kept.handle(batch)
    assert kept.offsets == []


async def test_an_alarm_is_raised_with_numbers_and_addresses_masked(tmp_path: Path) -> None:
    heard: list[tuple[str, Any]] = []
    alarms.channels.append(lambda name, fields: heard.append((name, fields)))
    before = alarms.raised["record.quarantined"]
    try:
        with structlog.testing.capture_logs() as logged:
            kept = Kept(tmp_path, Flow(0, error=lambda: PlantedError("+12025550123, ann@example.com")).handle)
            await kept.handle(batch_of(1))
    finally:
        alarms.channels.clear()
    ((name, fields),) = heard
    assert (name, fields["topic"], fields["offset"]) == ("record.quarantined", "topic", 0)
    assert fields["why"] == "PlantedError: +12*******23, a***@example.com"
    assert alarms.raised["record.quarantined"] == before + 1
    assert ("record.quarantined", "error") in [(entry["event"], entry["log_level"]) for entry in logged]


def test_the_letter_names_the_record_the_error_and_the_build_and_stays_small() -> None:
    record = FakeRecord(
        b"\xff" * 3_000_000, key=b"k" * 100_000, offset=7, topic="alerts", headers=[("x", b"y" * 10**6)]
    )
    letter = quarantined(record, SMS_DLQ, "PlantedError: \udfff" + "x" * 10**6, "1.2.3", NOW_MS)
    assert letter.size < 100_000
    dead = SMS_DLQ.decode(letter.value)
    assert isinstance(dead, m.UnreadableRecord)
    assert (dead.reason, dead.build, dead.topic, dead.offset) == (m.Unusable.QUARANTINED, "1.2.3", "alerts", 7)
    assert dead.detail.startswith("PlantedError: ?xxx")
    assert dict(letter.headers)["error-code"] == b"quarantined"
