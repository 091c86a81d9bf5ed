"""Buckets over days, at the edges: cuts, order, repetition, borders, bounds of work and of size."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.detection.aggregate_numbers import BUCKET_MS, Grading
from domain.detection.aggregate_state import About, Policy
from tests.domain.detection.bucket_reference import agrees, reference
from tests.domain.detection.bucket_worker import Worker

MINUTE = 60_000
HOUR = 60 * MINUTE
START = 1_774_000_000_000 // BUCKET_MS * BUCKET_MS
GRADED = Grading(high_c=5.0, low_c=0.0, vouch_ms=5 * MINUTE)
ABOUT = About("u-1", "org-1", GRADED)
POLICY = Policy(grace_ms=2 * MINUTE, keep_ms=48 * HOUR, seal_at=64, max_readings=10_000)

# Punctual to the millisecond, a little off, or after a gap of hours.
steps = st.lists(
    st.tuples(
        st.sampled_from([5 * MINUTE, 5 * MINUTE, 5 * MINUTE + 1, 4 * MINUTE, 15 * MINUTE, 7 * HOUR]),
        st.sampled_from([-1.0, 2.5, 5.0, 9.0]),
    ),
    min_size=2,
    max_size=120,
)


@settings(max_examples=200, deadline=None)
@given(steps, st.integers(0, 1 << 32))
def test_over_days_neither_cuts_nor_repetition_nor_order_within_an_hour_change_the_numbers(
    series: list[tuple[int, float]], seed: int
) -> None:
    rng = random.Random(seed)
    at, readings = START, []
    for step_ms, celsius in series:
        readings.append((at, celsius))
        at += step_ms
    sent = readings + rng.sample(readings, len(readings) // 3)
    late = {index: rng.randrange(HOUR) for index in range(len(sent))}
    sent = [sent[index] for index in sorted(late, key=lambda index: sent[index][0] + late[index])]
    worker = Worker(ABOUT, POLICY)
    while sent:
        size = rng.choice([1, 5, 200])
        worker.take(sent[:size])
        sent = sent[size:]
    worker.finish()
    assert worker.too_late == []
    agrees(worker.final(), reference(readings, GRADED))


@pytest.mark.parametrize("run", [1, 4, 12])
def test_a_reading_that_vouches_exactly_up_to_a_border_joins_the_excursions(run: int) -> None:
    worker = Worker(ABOUT, POLICY)
    readings = [(START + number * 5 * MINUTE, 9.0) for number in range(12)]
    for begin in range(0, 12, run):
        worker.take(readings[begin : begin + run])
    worker.finish()
    assert sum(bucket.excursions for bucket in worker.final().values()) == 1


def test_a_late_reading_keeps_the_excursions_joined_over_the_border_behind_it() -> None:
    worker = Worker(ABOUT, POLICY)
    readings = [(START + number * 5 * MINUTE, 9.0) for number in range(12)]
    worker.take(readings[:2] + readings[3:])
    worker.finish()
    worker.take([readings[2]])
    worker.finish()
    agrees(worker.final(), reference(readings, GRADED))


def test_a_catch_up_run_over_days_keeps_readings_that_came_a_quarter_of_an_hour_late() -> None:
    worker = Worker(ABOUT, POLICY)
    worker.take([(START, 2.0), (START + 20 * MINUTE, 2.0)])
    catch_up = [(START + MINUTE, 3.0)] + [(START + hour * HOUR, 2.0) for hour in range(1, 73)]
    worker.take(catch_up)
    worker.finish()
    assert worker.too_late == []
    assert worker.final()[START].count == 2


def test_a_long_run_closes_as_it_goes_and_takes_time_in_proportion() -> None:
    def seconds(count: int) -> float:
        worker = Worker(ABOUT, POLICY)
        begin = time.process_time()
        worker.take([(START + number * BUCKET_MS, 2.0) for number in range(count)])
        spent = time.process_time() - begin
        assert len(worker.published) >= count - 2
        return spent

    seconds(100)
    assert seconds(20_000) < 8 * seconds(5_000)


def test_a_bucket_takes_no_more_readings_than_it_may_and_names_the_rest() -> None:
    worker = Worker(ABOUT, Policy(grace_ms=2 * MINUTE, keep_ms=48 * HOUR, seal_at=8, max_readings=100))
    readings = [(START + number, 2.0) for number in range(300)]
    for begin in range(0, 300, 30):
        worker.take(readings[begin : begin + 30])
        worker.take(readings[:30])
    assert 100 <= 300 - len(worker.too_many) <= 108
    worker.take([(START + 40 * MINUTE, 2.0)])
    refused = len(worker.too_many)
    assert worker.final()[START].count == 300 - refused
    worker.take([(START + 1_000 + number, 2.0) for number in range(50)])
    assert len(worker.too_many) == refused + 50
    assert worker.final()[START].count == 300 - refused
    assert max(map(len, worker.rows.values())) < 4_000


def test_a_bucket_closes_when_the_grace_after_its_end_is_over_and_not_before() -> None:
    for early_ms, closed in ((1, 0), (0, 1)):
        worker = Worker(ABOUT, POLICY)
        worker.take([(START, 2.0)])
        worker.take([(START + BUCKET_MS + POLICY.grace_ms - early_ms, 2.0)])
        assert len(worker.published) == closed


def test_a_reading_at_a_border_belongs_to_the_bucket_that_begins_there() -> None:
    for run in ([(START, 2.0), (START + BUCKET_MS, 3.0)], [(START + BUCKET_MS, 3.0), (START, 2.0)]):
        worker = Worker(ABOUT, POLICY)
        worker.take([(START + 1, 2.5)])
        worker.take(run)
        worker.finish()
        assert {start - START: bucket.count for start, bucket in worker.final().items()} == {0: 2, BUCKET_MS: 1}
