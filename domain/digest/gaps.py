"""Where a unit's readings leave a period uncovered, as precisely as 15-minute buckets allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from domain.detection.aggregate_numbers import BUCKET_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from schemas import messages as m


class Gap(Struct, frozen=True):
    """A stretch with missing coverage; `missing_ms` is exact.

    The ends are exact for one silence: it begins where the first bucket's coverage ended and ends where the last one's
    began. Several short silences in one bucket become one stretch, of which `missing_ms` was not covered.
    """

    starts_at_ms: int
    ends_at_ms: int
    missing_ms: int


class _Stretch(Struct, frozen=True, gc=False):
    starts_at_ms: int
    length_ms: int
    covered_ms: int

    @property
    def ends_at_ms(self) -> int:
        return self.starts_at_ms + self.length_ms


def gaps(buckets: Iterable[m.AggregateBucket], starts_at_ms: int, ends_at_ms: int) -> tuple[Gap, ...]:
    """The uncovered stretches of a period whose borders are borders of buckets, oldest first."""
    found: list[Gap] = []
    run: list[_Stretch] = []
    for stretch in _stretches(buckets, starts_at_ms, ends_at_ms):
        if stretch.covered_ms < stretch.length_ms:
            run.append(stretch)
        elif run:
            found.append(_gap(run, starts_at_ms))
            run = []
    if run:
        found.append(_gap(run, starts_at_ms))
    return tuple(found)


def _stretches(buckets: Iterable[m.AggregateBucket], starts_at_ms: int, ends_at_ms: int) -> Iterator[_Stretch]:
    """The whole period: its buckets, and what lies between them."""
    at = starts_at_ms
    for bucket in buckets:
        if bucket.starts_at_ms > at:
            yield _Stretch(at, bucket.starts_at_ms - at, 0)
        yield _Stretch(bucket.starts_at_ms, BUCKET_MS, round(bucket.covered_s * 1000))
        at = bucket.starts_at_ms + BUCKET_MS
    if at < ends_at_ms:
        yield _Stretch(at, ends_at_ms - at, 0)


def _gap(run: list[_Stretch], period_starts_at_ms: int) -> Gap:
    missing = sum(stretch.length_ms - stretch.covered_ms for stretch in run)
    first, last = run[0], run[-1]
    if len(run) > 1:
        return Gap(first.starts_at_ms + first.covered_ms, last.ends_at_ms - last.covered_ms, missing)
    # A lone bucket does not say which side is covered: a new unit is silent first, any other goes offline.
    if first.starts_at_ms == period_starts_at_ms:
        return Gap(first.starts_at_ms, first.starts_at_ms + missing, missing)
    return Gap(first.starts_at_ms + first.covered_ms, first.ends_at_ms, missing)
