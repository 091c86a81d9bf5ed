from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.temperatures import apart, celsius, fahrenheit, number


@pytest.mark.parametrize(
    ("shown_c", "limit_c", "unit", "decimals"),
    [
        (9.1, 8.0, "C", 1),
        (8.02, 8.0, "C", 2),
        (8.004, 8.0, "C", 3),
        (8.0, 8.0, "C", 1),
        (8.02, 8.0, "F", 2),
        (8.0, None, "C", 1),
        # Nobody's sensor is finer than what is shown at most.
        (8.000001, 8.0, "C", 4),
    ],
)
def test_as_many_decimals_as_it_takes_to_see_the_difference(
    shown_c: float, limit_c: float | None, unit: str, decimals: int
) -> None:
    assert apart(shown_c, limit_c, unit) == decimals


@given(st.floats(-100, 150), st.floats(-100, 150), st.sampled_from("CF"))
def test_two_temperatures_that_differ_by_a_thousandth_never_read_alike(one: float, other: float, unit: str) -> None:
    decimals = apart(one, other, unit)
    if abs(one - other) >= 0.001:
        assert number(one, unit, decimals) != number(other, unit, decimals)


def test_there_is_no_negative_zero() -> None:
    assert number(-0.04, "C") == "0.0"


@given(st.integers(-1_000_000, 1_500_000))
def test_what_is_converted_comes_back(ten_thousandths: int) -> None:
    assert celsius(fahrenheit(ten_thousandths / 10_000)) == ten_thousandths / 10_000
