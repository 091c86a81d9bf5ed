"""Which limits a period is shown with, and what counts as recorded."""

from msgspec import structs

from domain.detection.aggregate_numbers import BUCKET_MS
from domain.digest.courses import courses
from domain.digest.jobs import SETTLED_AFTER_MS, is_recorded
from schemas.messages import Cadence
from tests.domain.digest.golden_views import whole
from tests.domain.digest.test_digest import PERIOD, buckets
from tests.streams.digests.mail_samples import period


def test_the_newest_limits_of_a_period_are_shown() -> None:
    found = [
        structs.replace(bucket, high_c=high_c, low_c=low_c)
        for bucket, high_c, low_c in zip(buckets("a", 0, 3), (5.0, 6.0, 7.0), (0.0, 1.0, 2.0), strict=True)
    ]
    [course] = courses(found, PERIOD)
    assert (course.high_c, course.low_c) == (7.0, 2.0)


def test_a_bucket_counts_in_the_period_in_which_it_begins() -> None:
    inside = buckets("a", 0, 2)
    before = structs.replace(inside[0], starts_at_ms=PERIOD.starts_at_ms - BUCKET_MS)
    after = structs.replace(inside[0], starts_at_ms=PERIOD.ends_at_ms)
    [course] = courses([before, *inside, after], PERIOD)
    assert course.total().count == sum(bucket.count for bucket in inside)
    assert list(courses([before, after], PERIOD)) == []


def test_a_period_is_recorded_once_its_last_bucket_has_closed_and_settled() -> None:
    of = period(Cadence.DAILY)
    assert SETTLED_AFTER_MS == 150_000
    assert not is_recorded(of, of.ends_at_ms + SETTLED_AFTER_MS - 1)
    assert is_recorded(of, of.ends_at_ms + SETTLED_AFTER_MS)
    assert is_recorded(of, of.ends_at_ms + 10 * SETTLED_AFTER_MS)


def test_a_unit_without_readings_is_shown_with_its_present_limits() -> None:
    [silent] = [unit for unit in whole(Cadence.DAILY).units if unit.name == "silent"]
    assert (silent.high_c, silent.low_c) == (8.0, 2.0)
