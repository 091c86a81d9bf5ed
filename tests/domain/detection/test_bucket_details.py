"""When buckets close by the clock, how states are stored, and what refusals say."""

import msgspec
import pytest

from domain.detection.aggregate import due_at_ms
from domain.detection.aggregate_numbers import BUCKET_MS, Grading
from domain.detection.aggregate_state import About, ClosedBucket, OpenBucket, Policy, UnitBuckets
from domain.detection.breach import Breach, Phase
from domain.detection.bucket_refusals import refused_by_buckets
from domain.detection.bucket_work import BucketWork
from domain.detection.readings import sort_records
from domain.detection.threshold import Tally
from schemas import messages as m
from schemas.messages import DeadLetterReason as Reason
from schemas.messages.reading_bounds import FUTURE_MS
from tests.domain.detection.bucket_worker import Worker
from tests.domain.detection.records import MAX_AGE_MS, START_MS, record, run_of

MINUTE = 60_000
START = START_MS // BUCKET_MS * BUCKET_MS
ABOUT = About("u", "org-1", Grading(high_c=5.0, low_c=0.0, vouch_ms=17 * MINUTE))
POLICY = Policy(grace_ms=2 * MINUTE, keep_ms=48 * 3_600_000, max_readings=20, seal_at=8)


def test_the_oldest_of_several_open_buckets_closes_first() -> None:
    open_ = (OpenBucket(START), OpenBucket(START + BUCKET_MS))
    state = UnitBuckets(newest_at_ms=START + BUCKET_MS, touched_at_ms=START + BUCKET_MS + 1, open=open_)
    assert due_at_ms(state, POLICY) == START + BUCKET_MS + 1 + POLICY.grace_ms
    untouched = UnitBuckets(newest_at_ms=START + BUCKET_MS, touched_at_ms=START, open=open_)
    assert due_at_ms(untouched, POLICY) == START + BUCKET_MS + POLICY.grace_ms


def test_a_bucket_stays_open_for_its_grace_after_its_end() -> None:
    worker = Worker(ABOUT, POLICY)
    worker.take([(START, 3.0)])
    worker.take([(START + BUCKET_MS + POLICY.grace_ms - 1, 3.0)])
    assert worker.published == []
    worker.take([(START + BUCKET_MS + POLICY.grace_ms, 3.0)])
    assert [bucket.starts_at_ms for bucket in worker.published] == [START]


@pytest.mark.parametrize(("distinct", "sealed"), [(3, False), (4, False), (5, True)])
def test_repetitions_alone_are_not_moved_to_the_row_of_their_bucket(distinct: int, *, sealed: bool) -> None:
    worker = Worker(ABOUT, POLICY)
    readings = [(START + number % distinct * 1_000, 3.0) for number in range(POLICY.seal_at)]
    worker.take(readings)
    worker.take(readings[:1])
    assert [bucket.sealed for bucket in worker.state.open] == [sealed]
    assert bool(worker.rows) is sealed


def test_late_readings_fill_a_closed_bucket_up_to_the_cap_and_no_further() -> None:
    policy = msgspec.structs.replace(POLICY, max_readings=6)
    worker = Worker(ABOUT, policy)
    worker.take([(START + second * 1_000, 3.0) for second in range(4)])
    worker.take([(START + 2 * BUCKET_MS, 3.0)])
    worker.take([(START + (10 + second) * 1_000, 3.0) for second in range(3)])
    assert [reading.at_ms for reading in worker.too_many] == [START + 12_000]
    assert worker.final()[START].count == 6


def test_states_are_stored_as_arrays_of_their_fields() -> None:
    breach = Breach("h", "org-1", m.Limit.HIGH, 5.0, m.Severity.WARNING, Phase.FIRING, START, 9.0)
    row = ClosedBucket(1, run_bucket().readings, None, ABOUT.graded)
    for state in (UnitBuckets(), OpenBucket(START), breach, row):
        assert isinstance(msgspec.msgpack.decode(msgspec.msgpack.encode(state)), list)


def run_bucket() -> ClosedBucket:
    worker = Worker(ABOUT, POLICY)
    worker.take([(START + second * 1_000, 3.0) for second in range(9)])
    found = worker.load("u", START)
    assert found is not None
    return found


def test_an_empty_table_gives_no_row() -> None:
    assert BucketWork(UnitBuckets(), ABOUT, lambda _unit, _start: None, POLICY).row(START) is None


def test_refusals_of_buckets_name_the_rule_in_the_record_that_has_the_reading() -> None:
    run = run_of([(0, 3.0), (60, 3.0)])
    refused = {(b"u", Reason.TOO_OLD): {START_MS}, (b"u", Reason.TOO_MANY): {START_MS + 60_000}}
    old, many = refused_by_buckets(refused, {b"u": run}, Policy())
    assert old.detail == f"the bucket of {START_MS} is closed for good: readings may come 48 h late"
    assert "has 10000 readings" in many.detail
    assert str(START_MS + 60_000) in many.detail


def test_a_reading_from_the_future_says_how_far_it_is_ahead() -> None:
    (refusal,) = sort_records([record("u", [(FUTURE_MS / 1000 + 90, 3.0)])], START_MS, MAX_AGE_MS).refusals
    assert refusal.reason is Reason.FUTURE_TIME
    assert refusal.detail == (
        f"the time {START_MS + FUTURE_MS + 90_000} is {FUTURE_MS // 1000 + 90} s ahead of now,"
        f" {FUTURE_MS // 1000} s are allowed: set the device's clock"
    )


def test_a_tally_begins_with_nothing() -> None:
    assert not any(getattr(Tally(), name) for name in Tally.__struct_fields__)
