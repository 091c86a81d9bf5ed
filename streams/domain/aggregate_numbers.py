"""The numbers of one 15-minute bucket as a function of a *set* of readings and the reading before it.

A set: the same reading twice, or readings in another order, give the same numbers bit for bit. Two readings of one
instant that differ count as one, the warmer: a rule that needs no order, and errs towards an excursion.

How long a reading vouches for its unit: until the next reading, at most `vouch_ms` (the unit's expected interval
times the missed intervals after which it counts as offline). What no reading vouches for is not covered: it is neither
in range nor out of it. A reading just before the bucket vouches into it; a reading after it does not matter.
"""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING

from msgspec import Struct

from schemas import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterable

BUCKET_MS = 900_000

# Activation energy over gas constant, 83.144 kJ/mol / 8.3144e-3 kJ/(mol K), as USP <1079.2> and ICH Q1A(R2) use them.
DH_OVER_R_K = 83.144 / 8.3144e-3
ZERO_CELSIUS_K = 273.15

SEVERITY_ORDER = (m.Severity.CRITICAL, m.Severity.WARNING, m.Severity.INFO)


class Grading(Struct, frozen=True, array_like=True):
    """What a unit's readings are measured against; a limit of null is not graded."""

    high_c: float | None
    low_c: float | None
    vouch_ms: int


def grading(config: m.UnitConfig) -> Grading:
    """The range that the digests report: on each side the limit of the most urgent severity that has one.

    The most urgent, not the narrowest: a warning limit is an early sign inside the range that the goods tolerate.
    """
    return Grading(
        high_c=_limit(config.rules, m.Limit.HIGH),
        low_c=_limit(config.rules, m.Limit.LOW),
        vouch_ms=config.expected_interval_s * config.offline_after_missed * 1000,
    )


def _limit(rules: Iterable[m.Rule], side: m.Limit) -> float | None:
    for severity in SEVERITY_ORDER:
        found = [rule.limit_c for rule in rules if rule.limit is side and rule.severity is severity]
        if found:
            return min(found) if side is m.Limit.HIGH else max(found)
    return None


class Packed(Struct, array_like=True, gc=False):
    """Readings of one bucket as two flat arrays: 12 bytes a reading, and one copy to append any number.

    `offsets` are unsigned 32-bit milliseconds since the bucket's start, `celsius` are 64-bit floats, both in the
    machine's byte order. The arrays may hold repetitions in any order until `tidy`.
    """

    offsets: bytes = b""
    celsius: bytes = b""

    @property
    def size(self) -> int:
        return len(self.offsets) >> 2

    def append(self, offsets: list[int], celsius: Iterable[float]) -> None:
        self.offsets += array("I", offsets).tobytes()
        self.celsius += array("d", celsius).tobytes()

    def arrays(self) -> tuple[array[int], array[float]]:
        """The readings in order of time, each instant once."""
        offsets, celsius = array("I", self.offsets), array("d", self.celsius)
        before = -1
        for offset in offsets:
            if offset <= before:
                return _sorted_set(offsets, celsius)
            before = offset
        return offsets, celsius

    def tidy(self) -> None:
        """Sort and remove repetitions."""
        offsets, celsius = self.arrays()
        self.offsets, self.celsius = offsets.tobytes(), celsius.tobytes()


def _sorted_set(offsets: array[int], celsius: array[float]) -> tuple[array[int], array[float]]:
    kept: dict[int, float] = {}
    for offset, value in zip(offsets, celsius, strict=True):
        known = kept.get(offset)
        if known is None or value > known:
            kept[offset] = value
    order = sorted(kept)
    return array("I", order), array("d", [kept[offset] for offset in order])


def union(one: Packed, other: Packed) -> Packed:
    """Both sets of readings: associative, commutative, and the union with itself changes nothing."""
    both = Packed(one.offsets + other.offsets, one.celsius + other.celsius)
    both.tidy()
    return both


class Before(Struct, frozen=True, array_like=True, gc=False):
    """The unit's last reading before a bucket begins."""

    at_ms: int
    celsius: float


class Numbers(Struct, frozen=True, gc=False):
    """A bucket's numbers; durations are whole milliseconds."""

    count: int
    sum_c: float
    min_c: float | None
    max_c: float | None
    first_at_ms: int | None
    first_c: float | None
    last_at_ms: int | None
    last_c: float | None
    above_ms: int
    below_ms: int
    covered_ms: int
    mkt_sum: float
    excursions: int


def numbers(starts_at_ms: int, readings: Packed, before: Before | None, graded: Grading) -> Numbers:
    """Compute a bucket; `before` may be any reading earlier than `starts_at_ms`, the newest one is meant."""
    offsets, celsius = readings.arrays()
    high = math.inf if graded.high_c is None else graded.high_c
    low = -math.inf if graded.low_c is None else graded.low_c
    vouch, exp = graded.vouch_ms, math.exp
    above = below = covered = excursions = 0
    terms: list[float] = []
    side = 0
    vouched_until = at = 0
    if before is not None:
        # One that vouches for nothing here still says whether an excursion is new, if it vouches up to the border.
        at, value = before.at_ms - starts_at_ms, before.celsius
        vouched_until = at + vouch
        side = (value > high) - (value < low)
        end = min(vouched_until, offsets[0] if offsets else BUCKET_MS, BUCKET_MS)
        if end > 0:
            covered = end
            above, below = (end if side > 0 else 0), (end if side < 0 else 0)
            terms.append(exp(-DH_OVER_R_K / (value + ZERO_CELSIUS_K)) * end)
    following = [*offsets[1:], BUCKET_MS]
    for at, value, end in zip(offsets, celsius, following, strict=True) if offsets else ():
        now = (value > high) - (value < low)
        if now and (now != side or at > vouched_until):
            excursions += 1
        side = now
        vouched_until = at + vouch
        lasts = min(end, vouched_until) - at
        covered += lasts
        if now > 0:
            above += lasts
        elif now:
            below += lasts
        terms.append(exp(-DH_OVER_R_K / (value + ZERO_CELSIUS_K)) * lasts)
    some = bool(offsets)
    return Numbers(
        count=len(offsets),
        sum_c=math.fsum(celsius),
        min_c=min(celsius) if some else None,
        max_c=max(celsius) if some else None,
        first_at_ms=starts_at_ms + offsets[0] if some else None,
        first_c=celsius[0] if some else None,
        last_at_ms=starts_at_ms + offsets[-1] if some else None,
        last_c=celsius[-1] if some else None,
        above_ms=above,
        below_ms=below,
        covered_ms=covered,
        mkt_sum=math.fsum(terms) / 1000,
        excursions=excursions,
    )


def mean_kinetic_temperature_c(mkt_sum: float, seconds: float) -> float | None:
    """The one temperature that would stress the goods as much as the measured course did, or null without any time.

    T = (dH/R) / -ln(sum(exp(-dH/(R Ti)) ti) / sum(ti)), time-weighted, because readings do not come evenly.
    Source: Haynes 1971, as in USP <1079.2> and ICH Q1A(R2), with dH = 83.144 kJ/mol.
    """
    if seconds <= 0 or mkt_sum <= 0:
        return None
    return DH_OVER_R_K / -math.log(mkt_sum / seconds) - ZERO_CELSIUS_K
