"""Totals: exactly associative and commutative, and the kinetic temperature against its definition."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.detection.aggregate_numbers import BUCKET_MS, Grading, Packed, mean_kinetic_temperature_c, measure, union
from domain.digest.aggregate_totals import Totals, of_bucket, totals
from schemas import messages as m


def _packed(readings: list[tuple[int, float]]) -> Packed:
    some = Packed()
    some.append([r[0] for r in readings], [r[1] for r in readings])
    return some


packed = st.lists(
    st.tuples(st.integers(0, BUCKET_MS - 1), st.floats(-80, 60)), unique_by=lambda r: r[0], max_size=20
).map(_packed)


def bucket(readings: Packed, number: int = 0, revision: int = 1) -> m.AggregateBucket:
    graded = Grading(high_c=5, low_c=0, vouch_ms=600_000)
    return measure("u", "o", number * BUCKET_MS, revision, readings, None, graded)


# Three sets of readings take a while to draw on a busy machine.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(packed, packed, packed)
def test_uniting_sets_of_readings_is_associative_commutative_and_idempotent(a: Packed, b: Packed, c: Packed) -> None:
    assert union(union(a, b), c) == union(a, union(b, c))
    assert union(a, b) == union(b, a)
    assert union(union(a, b), b) == union(a, b)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(packed, min_size=3, max_size=6), st.randoms(use_true_random=False))
def test_totals_do_not_depend_on_order_or_grouping(sets: list[Packed], rng: object) -> None:
    parts = [of_bucket(bucket(readings, number)) for number, readings in enumerate(sets)]
    a, b, *rest = parts
    tail = sum(rest, Totals())
    assert (a + b) + tail == a + (b + tail)
    assert a + b == b + a
    shuffled = list(parts)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert sum(shuffled, Totals()) == sum(parts, Totals())


def test_two_readings_of_one_instant_count_as_the_warmer_one() -> None:
    both = bucket(_packed([(5, 1.0), (5, 2.0), (5, 1.5)]))
    assert (both.count, both.sum_c) == (1, 2.0)


def test_the_kinetic_temperature_of_a_constant_course_is_that_temperature() -> None:
    for celsius in (-196.0, -80.0, -18.0, 5.0, 25.0, 60.0):
        found = totals([bucket(_packed([(0, celsius), (300_000, celsius)]))]).mkt_c
        assert found == pytest.approx(celsius, abs=1e-6)


def test_the_kinetic_temperature_agrees_with_the_formula_and_exceeds_the_mean() -> None:
    # half the time at 20 and half at 30 degrees: worked out with dH/R = 10,000 K
    weights = [math.exp(-10_000 / 293.15), math.exp(-10_000 / 303.15)]
    expected = 10_000 / -math.log(sum(weights) / 2) - 273.15
    found = totals([bucket(_packed([(0, 20.0), (450_000, 30.0)]))])
    assert found.mkt_c == pytest.approx(expected, abs=1e-9)
    assert found.mean_c == 25.0
    assert expected > 25.0


def test_no_time_has_no_kinetic_temperature() -> None:
    assert mean_kinetic_temperature_c(0.0, 0.0) is None
    assert Totals().mkt_c is None
    assert Totals().mean_c is None
    assert Totals().coverage(900_000) == 0


def test_revised_buckets_are_counted() -> None:
    two = bucket(_packed([(0, 1.0), (1, 2.0)]), revision=2)
    other = bucket(_packed([(0, 1.0)]), number=1)
    assert totals([two, other]).revised == 1
