"""The detection flow with fakes for broker, table, units and clock."""

from __future__ import annotations

import base64

import msgspec
import pytest

from domain.detection.aggregate_numbers import BUCKET_MS
from domain.detection.aggregate_state import Policy
from schemas import messages as m
from schemas.topics import READINGS_DLQ
from streams.detection.readings_to_alerts_and_aggregates import Detection
from streams.detection.unit_buckets import BucketTable
from streams.detection.unit_states import UnitStates
from streams.engine.applied_offset import applied_offset_of
from tests.domain.detection.records import MAX_AGE_MS, START_MS, Raw, record
from tests.streams.detection.detection_fakes import FakeBroker, FakeTable, FakeUnits, batch_of

pytestmark = pytest.mark.anyio

RULE = m.Rule(rule_id="hot", limit=m.Limit.HIGH, severity=m.Severity.CRITICAL, limit_c=8.0)


def unit(unit_id: str = "u", *rules: m.Rule) -> m.UnitConfig:
    return m.UnitConfig(
        unit_id=unit_id, organization_id="org", name="Fridge", rules=rules or (RULE,), live_window_s=10**6
    )


class Bench(FakeBroker):
    """The flow and what it did, in order."""

    def __init__(self, *configs: m.UnitConfig) -> None:
        super().__init__()
        self.units = FakeUnits(*configs)
        self.states, self.rows = FakeTable(), FakeTable()
        self.epoch = 1
        self.detection = self.started()

    def started(self) -> Detection:
        """A new worker, with the same broker, tables and units."""
        buckets = BucketTable(self.publish_run, self.rows, Policy())
        states = UnitStates(self.states, self.units)
        return Detection(self.publish, states, buckets, lambda: START_MS, MAX_AGE_MS)

    @property
    def table(self) -> dict[tuple[int, bytes], bytes]:
        return self.states.values

    async def handle(self, *records: Raw, partition: int = 0) -> None:
        await self.detection.handle(batch_of(records, partition=partition, epoch=self.epoch))


def types(alerts: list[m.Alert]) -> list[str]:
    return [type(alert).__name__ for alert in alerts]


async def test_a_breach_is_published_under_its_units_key_with_its_headers() -> None:
    bench = Bench(unit())
    await bench.handle(record("u", [(0, 9.0)], 0), record("u", [(1, 5.0)], 1))
    assert types(bench.alerts()) == ["AlertTriggered", "AlertResolved"]
    assert [out.key for out in bench.sent] == [b"u", b"u"]
    first, second = (dict(out.headers) for out in bench.sent)
    assert (first["type"], second["type"]) == (b"triggered", b"resolved")
    assert first["id"] != second["id"]


async def test_state_lasts_over_batches_and_restarts() -> None:
    bench = Bench(unit())
    await bench.handle(record("u", [(0, 9.0)], 0))
    await bench.handle(record("u", [(1, 9.0)], 1))
    bench.detection = bench.started()
    await bench.handle(record("u", [(2, 5.0)], 2))
    assert types(bench.alerts()) == ["AlertTriggered", "AlertResolved"]
    assert applied_offset_of(bench.table[0, b"u"]) == 2


async def test_a_record_that_was_seen_changes_nothing() -> None:
    bench = Bench(unit())
    await bench.handle(record("u", [(0, 9.0)], 0))
    before = dict(bench.table)
    await bench.handle(record("u", [(0, 9.0)], 0))
    assert types(bench.alerts()) == ["AlertTriggered"]
    assert bench.table == before
    assert bench.states.written == [{b"u"}, set()]
    assert bench.detection.counts.already_seen == 1


@pytest.mark.parametrize("where", ["publish", "write"])
async def test_a_batch_that_failed_half_way_makes_the_same_alert_once_more(where: str) -> None:
    bench = Bench(unit())
    await bench.handle(record("u", [(0, 5.0)], 0))
    (bench if where == "publish" else bench.states).fail = ConnectionError
    with pytest.raises(ConnectionError):
        await bench.handle(record("u", [(1, 9.0)], 1))
    bench.fail = bench.states.fail = None
    await bench.handle(record("u", [(1, 9.0)], 1))
    assert len({alert.alert_id for alert in bench.alerts()}) == 1
    assert len(bench.alerts()) == (1 if where == "publish" else 2)
    assert len({dict(out.headers)["id"] for out in bench.sent}) == 1


async def test_nothing_is_written_before_the_alerts_are_out() -> None:
    bench = Bench(unit())
    bench.fail = ConnectionError
    with pytest.raises(ConnectionError):
        await bench.handle(record("u", [(0, 9.0)], 0))
    assert bench.table == {}


async def test_a_new_epoch_forgets_the_cached_states() -> None:
    bench = Bench(unit())
    await bench.handle(record("u", [(0, 9.0)], 0))
    # Meanwhile another worker had the partition, and resolved the alert.
    other = Bench(unit())
    other.states.values = dict(bench.table)
    await other.handle(record("u", [(1, 5.0)], 1))
    bench.states.values = other.table
    bench.epoch += 1
    await bench.handle(record("u", [(2, 5.0)], 2))
    assert types(bench.alerts()) == ["AlertTriggered"]


async def test_the_same_unit_in_two_partitions_has_two_states() -> None:
    bench = Bench(unit())
    await bench.handle(record("u", [(0, 9.0)], 7), partition=0)
    await bench.handle(record("u", [(1, 5.0)], 3), partition=1)
    assert types(bench.alerts()) == ["AlertTriggered"]
    assert {partition for partition, _ in bench.table} == {0, 1}


async def test_a_changed_configuration_holds_from_the_next_batch_on() -> None:
    bench = Bench(unit())
    await bench.handle(record("u", [(0, 9.0)], 0))
    bench.units.set(unit("u", msgspec.structs.replace(RULE, limit_c=10.0)))
    await bench.handle(record("u", [(1, 9.0)], 1))
    assert types(bench.alerts()) == ["AlertTriggered", "AlertResolved"]


async def test_a_removed_unit_resolves_its_alerts_and_refuses_its_readings() -> None:
    bench = Bench(unit())
    await bench.handle(record("u", [(0, 9.0)], 0))
    bench.units.remove("u")
    await bench.handle(record("u", [(1, 9.0)], 1))
    await bench.handle(record("u", [(2, 9.0)], 2))
    last = bench.alerts()[-1]
    assert types(bench.alerts()) == ["AlertTriggered", "AlertResolved"]
    assert isinstance(last, m.AlertResolved)
    assert last.because == "unit removed"
    assert [letter.reason for letter in bench.letters()] == [m.DeadLetterReason.UNKNOWN_UNIT] * 2


async def test_an_unknown_unit_is_refused_until_it_is_configured() -> None:
    bench = Bench()
    await bench.handle(record("u", [(0, 9.0), (1, 9.0)], 0))
    assert [letter.reason for letter in bench.letters()] == [m.DeadLetterReason.UNKNOWN_UNIT]
    assert bench.detection.counts.dead[m.DeadLetterReason.UNKNOWN_UNIT] == 2
    assert bench.table == {}
    bench.units.set(unit())
    await bench.handle(record("u", [(2, 9.0)], 1))
    assert types(bench.alerts()) == ["AlertTriggered"]


async def test_a_dead_letter_tells_where_it_came_from_and_why() -> None:
    bench = Bench(unit())
    await bench.handle(record("u", [(0, 5.0)], 41), Raw(b"u", b'{"unit_id":"u"', 42), partition=3)
    (out,) = bench.sent
    (letter,) = bench.letters()
    headers = dict(out.headers)
    assert (out.topic, out.key) == (READINGS_DLQ, b"u")
    assert (letter.topic, letter.partition, letter.offset) == ("test.readings", 3, 42)
    assert letter.reason is m.DeadLetterReason.NOT_JSON
    assert base64.b64decode(letter.value_base64 or "") == b'{"unit_id":"u"'
    assert letter.value_bytes == 14
    assert headers["error-code"] == b"not_json"
    assert headers["error"] == letter.detail.encode()
    assert headers["original-topic"] == b"test.readings"
    assert (headers["original-partition"], headers["original-offset"]) == (b"3", b"42")


async def test_the_good_readings_of_a_batch_count_and_the_bad_ones_are_shown() -> None:
    bench = Bench(unit())
    await bench.handle(record("u", [(0, 5.0), (1, 999.0), (2, 9.0)], 0))
    (letter,) = bench.letters()
    assert letter.readings == (m.Reading(START_MS + 1000, 999.0),)
    assert types(bench.alerts()) == ["AlertTriggered"]
    assert bench.detection.counts.evaluated == 2


@pytest.mark.parametrize(
    "bad",
    [
        Raw(b"k" * 900_000, b'{"unit_id":"u","readings":[{"at_ms":1795000000000,"temperature_c":5}]}'),
        Raw(b"u", b"x" * 3_000_000),
        Raw(b"u", b'{"unit_id":"u","readings":[' + b"7," * 400_000 + b"7]}"),
        Raw(b"u", m.encode(m.ReadingBatch("u", [m.Reading(START_MS, 999.0)] * 20_000))),
    ],
)
async def test_a_dead_letter_is_always_small_enough_to_be_sent(bad: Raw) -> None:
    bench = Bench(unit())
    await bench.handle(bad)
    (out,) = bench.sent
    assert out.size < 250_000


async def test_what_became_of_readings_is_counted() -> None:
    bench = Bench(unit())
    await bench.handle(
        record("u", [(0, 5.0), (2, 5.0), (2, 5.0)], 0), record("u", [(1, 5.0)], 1), record("u", [(-2 * 10**6, 5.0)], 2)
    )
    counts = bench.detection.counts
    assert (counts.records, counts.evaluated, counts.repeated, counts.out_of_order) == (3, 2, 1, 2)


async def test_readings_before_the_live_window_are_counted_as_late() -> None:
    bench = Bench(unit())
    await bench.handle(record("u", [(-2 * 10**6, 9.0), (0, 5.0)], 0))
    assert bench.detection.counts.late == 1
    first = bench.alerts()[0]
    assert isinstance(first, m.AlertTriggered)
    assert not first.paging


async def test_an_empty_batch_of_records_does_nothing() -> None:
    bench = Bench(unit())
    await bench.handle()
    assert bench.sent == []


async def test_a_record_with_its_newest_reading_first_is_judged_by_time() -> None:
    bench = Bench(unit("u", msgspec.structs.replace(RULE, confirm_s=60)))
    await bench.handle(record("u", [(120, 5.0), (60, 20.0), (0, 20.0)], 0))
    assert types(bench.alerts()) == ["AlertTriggered", "AlertResolved"]
    assert bench.detection.counts.out_of_order == 0


async def test_readings_beyond_what_a_bucket_takes_are_dead_letters_with_that_reason() -> None:
    bench = Bench(unit())
    first_s = -(START_MS % BUCKET_MS) // 1000 - BUCKET_MS // 1000
    for part in range(3):
        await bench.handle(
            record("u", [(first_s + n / 16, 5.0) for n in range(part * 4_000, (part + 1) * 4_000)], part)
        )
    reasons = {letter.reason for letter in bench.letters()}
    assert reasons == {m.DeadLetterReason.TOO_MANY}
    assert bench.detection.counts.dead[m.DeadLetterReason.TOO_MANY] == 2_000
    assert all(len(value) < 200_000 for value in bench.rows.values.values())


async def test_readings_older_than_any_can_be_are_dead_letters_beside_the_good_ones() -> None:
    bench = Bench(unit())
    age_s = MAX_AGE_MS // 1000
    await bench.handle(record("u", [(-age_s - 1, 9.0), (-age_s, 5.0), (0, 5.0)], 0))
    (letter,) = bench.letters()
    assert letter.reason is m.DeadLetterReason.TOO_OLD
    assert [reading.at_ms for reading in letter.readings] == [START_MS - MAX_AGE_MS - 1000]
    assert bench.detection.counts.evaluated == 2
