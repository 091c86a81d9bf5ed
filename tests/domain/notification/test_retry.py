import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.notification.retry import (
    DIGEST_GENERATION,
    LONGEST_WAIT_S,
    BackOff,
    RetryPolicy,
    jittered,
    plain_delay_s,
    throttled_delay_s,
    timeout_delay_s,
)

SMS = RetryPolicy(attempts=3, back_off=BackOff.EXPONENTIAL, base_s=1.0)


@pytest.mark.parametrize(
    ("back_off", "base_s", "delays_s"),
    [
        (BackOff.FIXED, 5.0, [5, 5, 5, 5]),
        (BackOff.LINEAR, 5.0, [5, 10, 15, 20]),
        (BackOff.EXPONENTIAL, 1.0, [1, 2, 4, 8]),
        (BackOff.EXPONENTIAL, 2.0, [2, 4, 8, 16]),
    ],
)
def test_the_formulas(back_off: BackOff, base_s: float, delays_s: list[float]) -> None:
    assert [plain_delay_s(back_off, base_s, attempt) for attempt in (1, 2, 3, 4)] == delays_s


@pytest.mark.parametrize(("policy", "tries"), [(SMS, 3), (DIGEST_GENERATION, 2)])
def test_a_policy_counts_the_first_try_too(policy: RetryPolicy, tries: int) -> None:
    assert [policy.allows_another(attempt) for attempt in range(1, tries + 1)] == [True] * (tries - 1) + [False]


def test_a_digest_is_made_again_after_exactly_five_seconds() -> None:
    assert DIGEST_GENERATION.delay_s(1, random.Random(1)) == 5.0


@given(st.integers(1, 10**6), st.sampled_from(BackOff), st.floats(0.001, 100), st.randoms(use_true_random=False))
def test_a_delay_is_never_below_the_formula_nor_half_above_it(
    attempt: int, back_off: BackOff, base_s: float, rng: random.Random
) -> None:
    plain_s = plain_delay_s(back_off, base_s, attempt)
    delay_s = RetryPolicy(attempts=3, back_off=back_off, base_s=base_s).delay_s(attempt, rng)
    assert plain_s <= delay_s <= 1.5 * plain_s
    assert plain_s <= LONGEST_WAIT_S


def test_jitter_spreads_over_its_whole_range() -> None:
    rng = random.Random(7)
    delays_s = [jittered(10.0, rng) for _ in range(1000)]
    assert min(delays_s) < 10.1
    assert max(delays_s) > 14.9
    assert 12.3 < sum(delays_s) / len(delays_s) < 12.7


@pytest.mark.parametrize(
    ("said_s", "delay_s"),
    [
        # nothing said: a minute
        (None, 60.0),
        (7.0, 7.0),
        (0.0, 0.0),
        # absurd answers
        (-5.0, 0.0),
        (math.inf, LONGEST_WAIT_S),
        (math.nan, 60.0),
    ],
)
def test_too_many_requests_waits_as_long_as_the_provider_says(said_s: float | None, delay_s: float) -> None:
    assert throttled_delay_s(said_s) == delay_s


def test_a_timeout_waits_five_seconds_more_each_time() -> None:
    assert [timeout_delay_s(attempt) for attempt in (1, 2, 3)] == [5, 10, 15]


def test_there_is_no_attempt_before_the_first() -> None:
    with pytest.raises(ValueError, match="attempt 0: the first one is 1"):
        SMS.delay_s(0, random.Random(1))
