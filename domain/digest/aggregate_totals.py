"""The totals of a unit's buckets over a day, a week, a month.

All sums are whole numbers (thousandths of a second, millionths of a degree, and 2^-200 for the kinetic terms, which are
as small as 1e-57 in liquid nitrogen), so that merging is exactly associative and commutative, which sums of floats are
not. A sum over the days of a month is the same, bit for bit, as the sum over its buckets.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from msgspec import Struct

from domain.detection.aggregate_numbers import mean_kinetic_temperature_c

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas import messages as m

MICRO = 1_000_000
KINETIC = 2.0**200


class Totals(Struct, frozen=True, array_like=True, gc=False):
    """Numbers of a unit over any set of its buckets; each bucket once, in its newest revision."""

    count: int = 0
    sum_micro_c: int = 0
    min_c: float | None = None
    max_c: float | None = None
    first_at_ms: int | None = None
    first_c: float | None = None
    last_at_ms: int | None = None
    last_c: float | None = None
    above_ms: int = 0
    below_ms: int = 0
    covered_ms: int = 0
    kinetic: int = 0
    kinetic_ms: int = 0
    excursions: int = 0
    revised: int = 0

    @property
    def mean_c(self) -> float | None:
        """The mean of the readings, each with the same weight."""
        return self.sum_micro_c / MICRO / self.count if self.count else None

    @property
    def mkt_c(self) -> float | None:
        """The mean kinetic temperature of the covered time."""
        return mean_kinetic_temperature_c(self.kinetic / KINETIC, self.kinetic_ms / 1000)

    @property
    def out_ms(self) -> int:
        return self.above_ms + self.below_ms

    def coverage(self, length_ms: int) -> float:
        """The part of a period of `length_ms` that readings vouch for, 0..1."""
        return min(1.0, self.covered_ms / length_ms) if length_ms > 0 else 0.0

    def __add__(self, other: Totals) -> Totals:
        first, last = _earlier(self, other), _later(self, other)
        return Totals(
            count=self.count + other.count,
            sum_micro_c=self.sum_micro_c + other.sum_micro_c,
            min_c=min((c for c in (self.min_c, other.min_c) if c is not None), default=None),
            max_c=max((c for c in (self.max_c, other.max_c) if c is not None), default=None),
            first_at_ms=first.first_at_ms,
            first_c=first.first_c,
            last_at_ms=last.last_at_ms,
            last_c=last.last_c,
            above_ms=self.above_ms + other.above_ms,
            below_ms=self.below_ms + other.below_ms,
            covered_ms=self.covered_ms + other.covered_ms,
            kinetic=self.kinetic + other.kinetic,
            kinetic_ms=self.kinetic_ms + other.kinetic_ms,
            excursions=self.excursions + other.excursions,
            revised=self.revised + other.revised,
        )


def _earlier(one: Totals, other: Totals) -> Totals:
    if one.first_at_ms is None or one.first_c is None:
        return other
    if other.first_at_ms is None or other.first_c is None:
        return one
    return min(one, other, key=lambda t: (t.first_at_ms, t.first_c))


def _later(one: Totals, other: Totals) -> Totals:
    if one.last_at_ms is None or one.last_c is None:
        return other
    if other.last_at_ms is None or other.last_c is None:
        return one
    return max(one, other, key=lambda t: (t.last_at_ms, t.last_c))


def of_bucket(bucket: m.AggregateBucket) -> Totals:
    """A bucket as totals; `revised` counts buckets that late data changed after they were first published."""
    return Totals(
        count=bucket.count,
        sum_micro_c=round(bucket.sum_c * MICRO),
        min_c=bucket.min_c,
        max_c=bucket.max_c,
        first_at_ms=bucket.first_at_ms,
        first_c=bucket.first_c,
        last_at_ms=bucket.last_at_ms,
        last_c=bucket.last_c,
        above_ms=round(bucket.above_s * 1000),
        below_ms=round(bucket.below_s * 1000),
        covered_ms=round(bucket.covered_s * 1000),
        kinetic=int(bucket.mkt_sum * KINETIC),
        kinetic_ms=round(bucket.mkt_seconds * 1000),
        excursions=bucket.excursions,
        revised=int(bucket.revision > 1),
    )


def totals(buckets: Iterable[m.AggregateBucket]) -> Totals:
    """The totals of one unit's buckets, each in one revision, in any order."""
    return reduce(Totals.__add__, map(of_bucket, buckets), Totals())
