"""Buckets in the pass that judges thresholds, with fakes for broker, tables, units and clock."""

from __future__ import annotations

import random

import msgspec
import pytest

from domain.detection.aggregate_numbers import BUCKET_MS
from schemas import messages as m
from schemas.topics import UNIT_AGGREGATES
from tests.domain.detection.bucket_worker import newest_revisions
from tests.domain.detection.records import START_MS, Raw, record
from tests.streams.detection.test_readings_to_alerts_and_aggregates import Bench, unit

pytestmark = pytest.mark.anyio

BUCKET_S = BUCKET_MS // 1000
FIRST_S = -(START_MS % BUCKET_MS) // 1000 - 20 * BUCKET_S  # what lies in the future is refused


def newest(bench: Bench) -> dict[int, tuple[int, float]]:
    """Count and sum by the number of the bucket."""
    first_ms = START_MS + FIRST_S * 1000
    found = newest_revisions(bench.buckets())
    return {(b.starts_at_ms - first_ms) // BUCKET_MS: (b.count, round(b.sum_c, 6)) for b in found}


async def test_a_bucket_is_published_when_its_grace_is_over_under_its_units_key() -> None:
    bench = Bench(unit())
    await bench.handle(record("u", [(FIRST_S, 4.0), (FIRST_S + 60, 6.0)], 0))
    assert bench.buckets() == []
    await bench.handle(record("u", [(FIRST_S + BUCKET_S + 120, 5.0)], 1))
    (bucket,) = bench.buckets()
    (out,) = bench.sent
    assert (out.key, out.topic) == (b"u", UNIT_AGGREGATES)
    assert dict(out.headers)["type"] == b"aggregate_bucket"
    assert (bucket.unit_id, bucket.organization_id, bucket.count, bucket.revision) == ("u", "org", 2, 1)
    assert (bucket.min_c, bucket.max_c, bucket.high_c) == (4.0, 6.0, 8.0)
    assert bench.detection.counts.buckets == 1


async def test_rows_are_written_between_the_bucket_and_the_state() -> None:
    bench = Bench(unit())
    await bench.handle(record("u", [(FIRST_S, 4.0)], 0))
    state = dict(bench.table)
    bench.rows.fail = ConnectionError
    with pytest.raises(ConnectionError):
        await bench.handle(record("u", [(FIRST_S + 2 * BUCKET_S, 5.0)], 1))
    assert len(bench.buckets()) == 1
    assert bench.table == state
    bench.rows.fail = None
    await bench.handle(record("u", [(FIRST_S + 2 * BUCKET_S, 5.0)], 1))
    one, two = bench.buckets()
    assert one == two
    assert list(bench.rows.values) == [(0, f"u|{one.starts_at_ms}".encode())]


async def test_readings_before_the_live_window_revise_their_bucket_and_page_nobody() -> None:
    bench = Bench(unit())
    old_s = FIRST_S - 1200 * BUCKET_S
    await bench.handle(record("u", [(old_s, 9.0), (old_s + BUCKET_S + 120, 5.0)], 0))
    await bench.handle(record("u", [(old_s + 1, 9.5)], 1))
    assert [bucket.count for bucket in bench.buckets()] == [1, 2]
    assert not any(alert.paging for alert in bench.alerts() if isinstance(alert, m.AlertTriggered))


async def test_readings_that_come_more_than_48_hours_late_are_dead_letters_beside_the_good_ones() -> None:
    bench = Bench(unit())
    await bench.handle(record("u", [(FIRST_S + n * BUCKET_S, 5.0) for n in (0, 1, 3)], 0))
    long_ago_s = FIRST_S - 48 * 3600 - BUCKET_S
    await bench.handle(record("u", [(long_ago_s, 5.0), (FIRST_S + 1, 6.0)], 1))
    (letter,) = bench.letters()
    assert letter.reason is m.DeadLetterReason.TOO_OLD
    assert [reading.at_ms for reading in letter.readings] == [START_MS + long_ago_s * 1000]
    assert newest(bench)[0] == (2, 11.0)


async def test_an_alert_carries_the_trace_of_the_record_that_caused_it() -> None:
    bench = Bench(unit())
    records = [
        record("u", [(0, 5.0), (1, 5.0)], 0)._replace(headers=(("traceparent", b"one"),)),
        record("u", [(2, 9.0)], 1)._replace(headers=(("id", b"x"), ("traceparent", b"two"))),
        record("u", [(3, 5.0)], 2),
    ]
    await bench.handle(*records)
    begun, ended = (dict(out.headers) for out in bench.sent)
    assert begun["traceparent"] == b"two"
    assert "traceparent" not in ended


@pytest.mark.parametrize("seed", range(5))
async def test_repetitions_late_readings_and_crashes_end_in_the_numbers_of_a_plain_loop(seed: int) -> None:
    rng = random.Random(seed)
    series = [(FIRST_S + n * 30, round(rng.uniform(2, 7), 1)) for n in range(300)]
    expected: dict[int, tuple[int, float]] = {}
    for second, celsius in series:
        count, total = expected.get((second - FIRST_S) // BUCKET_S, (0, 0.0))
        expected[(second - FIRST_S) // BUCKET_S] = (count + 1, round(total + celsius, 6))
    expected[10] = (0, 0.0)  # the last reading before it vouches into it
    late = rng.sample(series, 15)
    sent = [reading for reading in series if reading not in late] + late + rng.sample(series, 15)
    # What closes the last bucket, and the one that it opens is left open.
    sent.append((FIRST_S + 310 * 30 + BUCKET_S, 5.0))
    records: list[Raw] = [record("u", [reading], offset) for offset, reading in enumerate(sent)]
    bench, done = Bench(unit()), 0
    while done < len(records):
        run = records[done : done + rng.randint(1, 40)]
        failing = rng.choice([bench, bench.rows, bench.states, None, None])
        if failing is not None:
            failing.fail = ConnectionError
        try:
            await bench.handle(*run)
        except ConnectionError:
            bench.detection = bench.started()
        else:
            done += len(run)
        if failing is not None:
            failing.fail = None
    assert newest(bench) == expected


async def test_a_unit_that_moves_to_another_organization_leaves_its_numbers_behind() -> None:
    bench = Bench(unit())
    await bench.handle(record("u", [(FIRST_S - 60, 9.5), (FIRST_S + 60, 9.0)], 0))
    bench.units.set(msgspec.structs.replace(unit(), organization_id="other"))
    await bench.handle(record("u", [(FIRST_S + 120, 4.0)], 1))
    # Also late readings of the quarter hour before join nothing of the former owner.
    await bench.handle(record("u", [(FIRST_S - 30, 4.5)], 2))
    await bench.handle(record("u", [(FIRST_S + 2 * BUCKET_S, 5.0)], 3))
    mine = [b for b in bench.buckets() if b.organization_id == "org"]
    theirs = [b for b in bench.buckets() if b.organization_id == "other"]
    assert [(b.count, b.max_c) for b in mine] == [(1, 9.5), (1, 9.0)]
    assert [(b.count, b.min_c, b.max_c, b.above_s) for b in theirs if b.count] == [(1, 4.5, 4.5, 0), (1, 4.0, 4.0, 0)]
    assert all(alert.organization_id == "org" for alert in bench.alerts())
    assert types_of(bench)[-1:] == ["AlertResolved"]


def types_of(bench: Bench) -> list[str]:
    return [type(alert).__name__ for alert in bench.alerts()]


async def test_a_unit_that_is_moved_while_too_warm_ends_the_former_owners_alert_and_begins_one_of_the_new_ones() -> (
    None
):
    bench = Bench(unit())
    await bench.handle(record("u", [(0, 9.0)], 0))
    bench.units.set(msgspec.structs.replace(unit(), organization_id="other"))
    await bench.handle(record("u", [(1, 9.0)], 1))
    said = [(type(alert).__name__, alert.organization_id) for alert in bench.alerts()]
    assert said == [("AlertTriggered", "org"), ("AlertResolved", "org"), ("AlertTriggered", "other")]
