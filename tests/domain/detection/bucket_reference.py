"""The buckets of a whole series at once, by a plain loop, and whether published ones agree with them."""

import math
from itertools import pairwise

from domain.detection.aggregate_numbers import BUCKET_MS, Grading
from schemas import messages as m


def reference(readings: list[tuple[int, float]], graded: Grading) -> dict[int, dict[str, object]]:
    """The buckets of a whole series, by cutting its vouched stretches at the borders; written for clarity."""
    series: dict[int, float] = {}
    for at, value in readings:
        series[at] = max(value, series.get(at, -math.inf))
    times = sorted(series)
    out: dict[int, dict[str, object]] = {}

    def of(start: int) -> dict[str, object]:
        return out.setdefault(start, {"values": [], "above": 0, "below": 0, "covered": 0, "kinetic": [], "begun": 0})

    side_before, vouched_until = 0, -(1 << 60)
    for at, following in pairwise([*times, 1 << 60]):
        value = series[at]
        side = 1 if value > graded.high_c else -1 if value < graded.low_c else 0  # type: ignore[operator]
        bucket = of(at - at % BUCKET_MS)
        bucket["values"].append((at, value))  # type: ignore[attr-defined]
        if side and (side != side_before or at > vouched_until):
            bucket["begun"] += 1  # type: ignore[operator]
        side_before, vouched_until = side, at + graded.vouch_ms
        position, end = at, min(following, vouched_until)
        while position < end:
            border = position - position % BUCKET_MS + BUCKET_MS
            lasts = min(border, end) - position
            part = of(position - position % BUCKET_MS)
            part["covered"] += lasts  # type: ignore[operator]
            part["above"] += lasts if side > 0 else 0  # type: ignore[operator]
            part["below"] += lasts if side < 0 else 0  # type: ignore[operator]
            part["kinetic"].append(lasts / 1000 * math.exp(-10_000 / (value + 273.15)))  # type: ignore[attr-defined]
            position += lasts
    return out


def agrees(found: dict[int, m.AggregateBucket], expected: dict[int, dict[str, object]]) -> None:
    assert sorted(found) == sorted(expected)
    for start, want in expected.items():
        have = found[start]
        values: list[tuple[int, float]] = want["values"]  # type: ignore[assignment]
        temperatures = [value for _, value in values]
        assert have.count == len(values)
        assert math.isclose(have.sum_c, math.fsum(temperatures), abs_tol=1e-9)
        assert (have.min_c, have.max_c) == (min(temperatures, default=None), max(temperatures, default=None))
        assert (have.first_at_ms, have.first_c) == (values[0] if values else (None, None))
        assert (have.last_at_ms, have.last_c) == (values[-1] if values else (None, None))
        assert round(have.above_s * 1000) == want["above"]
        assert round(have.below_s * 1000) == want["below"]
        assert round(have.covered_s * 1000) == want["covered"]
        assert have.excursions == want["begun"]
        assert math.isclose(have.mkt_sum, math.fsum(want["kinetic"]), rel_tol=1e-9)  # type: ignore[arg-type]
