"""Buckets against a plain reference that looks at a whole series at once."""

import random
from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.detection.aggregate_numbers import BUCKET_MS, Grading, grading
from domain.detection.aggregate_state import About, Policy, UnitBuckets
from schemas import messages as m
from tests.domain.detection.bucket_reference import agrees, reference
from tests.domain.detection.bucket_worker import Worker

MINUTE = 60_000
START = 1_774_000_000_000 // BUCKET_MS * BUCKET_MS
GRADED = Grading(high_c=5.0, low_c=0.0, vouch_ms=17 * MINUTE)
ABOUT = About("u-1", "org-1", GRADED)
POLICY = Policy(grace_ms=2 * MINUTE, keep_ms=48 * 3_600_000, seal_at=8)


reading = st.tuples(
    st.integers(0, 3 * 3_600_000).map(lambda ms: START + ms),
    st.sampled_from([-1.0, 0.0, 2.5, 4.99, 5.0, 5.01, 9.0]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(reading, min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_any_order_repetition_and_batching_ends_in_the_numbers_of_the_whole_series(
    readings: list[tuple[int, float]], rng: random.Random
) -> None:
    sent = readings + rng.sample(readings, rng.randrange(len(readings) + 1))
    rng.shuffle(sent)
    worker = Worker(ABOUT, POLICY)
    while sent:
        size = rng.randint(1, 12)
        worker.take(sent[:size], now_ms=START + rng.randrange(6 * 3_600_000))
        sent = sent[size:]
        if rng.random() < 0.2:
            worker.wait(START + rng.randrange(6 * 3_600_000))
    worker.finish()
    assert worker.too_late == []
    agrees(worker.final(), reference(readings, GRADED))


@settings(max_examples=300, deadline=None)
@given(st.lists(reading, min_size=1, max_size=60), st.integers(0, 1 << 32), st.booleans())
def test_a_crash_after_publishing_and_before_storing_is_made_good_by_the_re_run(
    readings: list[tuple[int, float]], seed: int, rows_stored: bool
) -> None:
    rng = random.Random(seed)
    worker = Worker(ABOUT, POLICY)
    done = 0
    while done < len(readings):
        state, rows = msgspec.msgpack.encode(worker.state), dict(worker.rows)
        size = rng.randint(1, 12)
        worker.take(readings[done : done + size])
        if rng.random() < 0.4:
            # what was published stays published; the same records come again, cut otherwise
            worker.state = msgspec.msgpack.decode(state, type=UnitBuckets)
            worker.rows = worker.rows if rows_stored else rows
        else:
            done += size
    worker.finish()
    agrees(worker.final(), reference(readings, GRADED))


@settings(max_examples=100, deadline=None)
@given(st.lists(reading, min_size=1, max_size=60), st.integers(1, 20))
def test_the_revisions_of_a_bucket_count_up_without_a_hole_and_each_changes_something(
    readings: list[tuple[int, float]], size: int
) -> None:
    worker = Worker(ABOUT, POLICY)
    for begin in range(0, len(readings), size):
        worker.take(readings[begin : begin + size])
    worker.finish()
    by_start: dict[int, list[m.AggregateBucket]] = {}
    for bucket in worker.published:
        by_start.setdefault(bucket.starts_at_ms, []).append(bucket)
    for found in by_start.values():
        assert [bucket.revision for bucket in found] == list(range(1, len(found) + 1))
        for one, two in pairwise(found):
            assert msgspec.structs.replace(one, revision=two.revision) != two


@settings(max_examples=100, deadline=None)
@given(st.lists(reading, min_size=1, max_size=60), st.integers(1, 20))
def test_a_run_that_is_repeated_after_a_crash_changes_nothing(readings: list[tuple[int, float]], size: int) -> None:
    worker = Worker(ABOUT, POLICY)
    for begin in range(0, len(readings), size):
        worker.take(readings[begin : begin + size])
    worker.finish()
    once, published = worker.final(), len(worker.published)
    for begin in range(0, len(readings), size):
        worker.take(readings[begin : begin + size])
    assert len(worker.published) == published
    worker.finish()
    assert worker.final() == once


def test_a_long_gap_is_not_covered_and_its_buckets_are_not_published() -> None:
    worker = Worker(ABOUT, POLICY)
    worker.take([(START, 3.0), (START + 5 * 3_600_000, 3.0)])
    worker.finish()
    starts = [bucket.starts_at_ms for bucket in worker.published]
    gap_end = START + 5 * 3_600_000
    assert starts == [START, START + BUCKET_MS, gap_end, gap_end + BUCKET_MS]
    assert [bucket.covered_s for bucket in worker.published] == [900, 120, 900, 120]


def test_a_bucket_that_only_the_reading_before_it_vouches_for_is_published_without_a_count() -> None:
    worker = Worker(ABOUT, POLICY)
    worker.take([(START + 10 * MINUTE, 7.0)])
    worker.wait(START + 17 * MINUTE)
    worker.wait(START + 32 * MINUTE)
    alone, after = worker.published
    assert (alone.count, alone.covered_s, alone.above_s, alone.excursions) == (1, 300, 300, 1)
    # 17 minutes from the reading: 12 of them in the second bucket, and the excursion is not counted again
    assert (after.count, after.covered_s, after.above_s, after.excursions) == (0, 720, 720, 0)
    assert after.max_c is None


def test_a_reading_exactly_at_the_limit_is_in_range() -> None:
    worker = Worker(ABOUT, POLICY)
    worker.take([(START, 5.0), (START + MINUTE, 0.0)])
    worker.finish()
    assert sum(bucket.above_s + bucket.below_s for bucket in worker.published) == 0


def test_a_bucket_waits_for_the_grace_and_then_late_data_is_its_second_revision() -> None:
    worker = Worker(ABOUT, POLICY)
    worker.take([(START, 3.0)])
    worker.take([(START + BUCKET_MS + 2 * MINUTE - 1, 3.0)])
    assert worker.published == []
    worker.take([(START + BUCKET_MS + 2 * MINUTE, 3.0)])
    assert [(b.starts_at_ms, b.revision, b.count) for b in worker.published] == [(START, 1, 1)]
    worker.take([(START + 3 * MINUTE, 8.0)])
    assert [(b.starts_at_ms, b.revision, b.count) for b in worker.published[1:]] == [(START, 2, 2)]


def test_a_late_reading_that_vouches_into_the_following_buckets_revises_them_too() -> None:
    worker = Worker(ABOUT, POLICY)
    worker.take([(START, 3.0), (START + 3 * BUCKET_MS, 3.0), (START + 5 * BUCKET_MS, 3.0)])
    worker.published.clear()
    worker.take([(START + 2 * BUCKET_MS - MINUTE, 9.0)])
    revised = {(b.starts_at_ms - START) // BUCKET_MS: (b.revision, b.above_s) for b in worker.published}
    # it falls into the second bucket, where the first reading vouched for two minutes, and covers all of the third
    # the fourth begins with a reading of its own, so its numbers stay
    assert revised == {1: (2, 60.0), 2: (1, 900.0)}


def test_readings_older_than_what_is_kept_are_handed_back_and_their_rows_deleted() -> None:
    policy = Policy(keep_ms=4 * BUCKET_MS)
    worker = Worker(ABOUT, policy)
    for n in range(12):
        worker.take([(START + n * BUCKET_MS, 3.0)])
    # the newest reading lies in bucket 11 and four before it are kept
    assert min(worker.rows) == START + 7 * BUCKET_MS
    worker.take([(START + 6 * BUCKET_MS + 1, 4.0), (START + 7 * BUCKET_MS + 1, 4.0)])
    assert worker.too_late == [m.Reading(START + 6 * BUCKET_MS + 1, 4.0)]
    assert worker.final()[START + 7 * BUCKET_MS].count == 2


def test_a_unit_that_measures_every_second_keeps_a_small_state() -> None:
    policy = Policy()
    worker = Worker(About("u-1", "org-1", Grading(5.0, None, 3000)), policy)
    readings = [(START + n * 1000, 4.0 + n % 3) for n in range(2000)]
    largest = 0
    for begin in range(0, 2000, 20):
        worker.take(readings[begin : begin + 20])
        largest = max(largest, len(msgspec.msgpack.encode(worker.state)))
    worker.finish()
    assert largest < 2000
    assert [bucket.count for bucket in worker.published] == [900, 900, 200]
    assert worker.published[0].covered_s == 900


def test_the_graded_range_is_that_of_the_most_urgent_rules() -> None:
    def rule(severity: m.Severity, limit: m.Limit, limit_c: float) -> m.Rule:
        return m.Rule(rule_id=f"{severity}{limit}{limit_c}", limit=limit, severity=severity, limit_c=limit_c)

    config = m.UnitConfig(
        unit_id="u",
        organization_id="o",
        name="Fridge",
        expected_interval_s=60,
        offline_after_missed=5,
        rules=(
            rule(m.Severity.WARNING, m.Limit.HIGH, 5),
            rule(m.Severity.CRITICAL, m.Limit.HIGH, 9),
            rule(m.Severity.CRITICAL, m.Limit.HIGH, 8),
            rule(m.Severity.INFO, m.Limit.LOW, 1),
        ),
    )
    assert grading(config) == Grading(high_c=8, low_c=1, vouch_ms=300_000)
