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
from functools import lru_cache
from math import exp
from operator import lt, sub
from typing import TYPE_CHECKING

from msgspec import Struct

from domain.detection.offline import patience_ms
from schemas import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
    return _grading(config.rules, patience_ms(config))


@lru_cache(maxsize=1000)
def _grading(rules: tuple[m.Rule, ...], vouch_ms: int) -> Grading:
    """Many units are measured alike: they share this."""
    return Grading(_limit(rules, m.Limit.HIGH), _limit(rules, m.Limit.LOW), vouch_ms)


def _limit(rules: Iterable[m.Rule], side: m.Limit) -> float | None:
    for severity in SEVERITY_ORDER:
        found = [rule.limit_c for rule in rules if rule.limit is side and rule.severity is severity]
        if found:
            return min(found) if side is m.Limit.HIGH else max(found)
    return None


class Packed(Struct, array_like=True, gc=False):
    """Readings of one bucket as two flat arrays: 12 bytes a reading, and one copy to append any number.

    `offsets` are unsigned 32-bit milliseconds since the bucket's start, `celsius` are 64-bit floats, both in the
    machine's byte order. The arrays may hold repetitions in any order until they are read.
    """

    offsets: bytes = b""
    celsius: bytes = b""

    @property
    def size(self) -> int:
        """How many readings, repetitions counted."""
        return len(self.offsets) >> 2

    def append(self, offsets: list[int], celsius: Iterable[float]) -> None:
        self.offsets += array("I", offsets).tobytes()
        self.celsius += array("d", celsius).tobytes()

    def extend(self, other: Packed) -> None:
        self.offsets += other.offsets
        self.celsius += other.celsius

    def read(self) -> tuple[list[int], list[float]]:
        """The offsets and temperatures in order of time, each instant once; they are kept so from here on."""
        offsets = array("I", self.offsets).tolist()
        celsius = array("d", self.celsius).tolist()
        if all(map(lt, offsets, offsets[1:])):
            return offsets, celsius
        kept: dict[int, float] = {}
        for offset, value in zip(offsets, celsius, strict=True):
            known = kept.get(offset)
            if known is None or value > known:
                kept[offset] = value
        offsets = sorted(kept)
        celsius = [kept[offset] for offset in offsets]
        self.offsets, self.celsius = array("I", offsets).tobytes(), array("d", celsius).tobytes()
        return offsets, celsius


def union(one: Packed, other: Packed) -> Packed:
    """Both sets of readings: associative, commutative, and the union with itself changes nothing."""
    both = Packed(one.offsets + other.offsets, one.celsius + other.celsius)
    both.read()
    return both


class Before(Struct, frozen=True, array_like=True, gc=False):
    """The unit's last reading before a bucket begins."""

    at_ms: int
    celsius: float


def measure(
    unit_id: str,
    organization_id: str,
    starts_at_ms: int,
    revision: int,
    readings: Packed,
    before: Before | None,
    graded: Grading,
) -> m.AggregateBucket:
    """The bucket's numbers; `before` may be any reading earlier than `starts_at_ms`, the newest one is meant."""
    offsets, celsius = readings.read()
    high, low, vouch = _bound(graded.high_c, math.inf), _bound(graded.low_c, -math.inf), graded.vouch_ms
    count = len(offsets)
    lasting = _lasting(offsets, vouch)
    coldest, warmest = (min(celsius), max(celsius)) if count else (None, None)
    covered, kinetic = sum(lasting), _kinetic(celsius, lasting)
    side, vouched_until, reached = 0, -1, 0
    if before is not None:
        # One that vouches for nothing here still says whether an excursion is new, if it vouches up to the border.
        side = (before.celsius > high) - (before.celsius < low)
        vouched_until = before.at_ms - starts_at_ms + vouch
        reached = max(0, min(vouched_until, offsets[0] if count else BUCKET_MS, BUCKET_MS))
        if reached:
            covered += reached
            kinetic += _kinetic([before.celsius], [reached])
    above = below = excursions = 0
    if coldest is not None and warmest is not None and (warmest > high or coldest < low):
        above, below, excursions = _out_of_range(offsets, celsius, lasting, high, low, side, vouched_until, vouch)
    return m.AggregateBucket(
        unit_id=unit_id,
        organization_id=organization_id,
        starts_at_ms=starts_at_ms,
        revision=revision,
        count=count,
        sum_c=math.fsum(celsius),
        min_c=coldest,
        max_c=warmest,
        first_c=celsius[0] if count else None,
        last_c=celsius[-1] if count else None,
        above_s=(above + reached if side > 0 else above) / 1000,
        below_s=(below + reached if side < 0 else below) / 1000,
        covered_s=covered / 1000,
        mkt_seconds=covered / 1000,
        mkt_sum=math.fsum(kinetic) / 1000,
        excursions=excursions,
        first_at_ms=starts_at_ms + offsets[0] if count else None,
        last_at_ms=starts_at_ms + offsets[-1] if count else None,
        high_c=graded.high_c,
        low_c=graded.low_c,
    )


def _bound(limit_c: float | None, none: float) -> float:
    return none if limit_c is None else limit_c


def _lasting(offsets: list[int], vouch: int) -> list[int]:
    """For how long each reading vouches, in ms: up to the next one or the bucket's end, at most `vouch`."""
    lasting = list(map(sub, offsets[1:], offsets))
    if offsets:
        lasting.append(BUCKET_MS - offsets[-1])
        if max(lasting) > vouch:
            return [min(lasts, vouch) for lasts in lasting]
    return lasting


def _kinetic(celsius: Sequence[float], lasting: list[int]) -> list[float]:
    """Each reading's share of the sum below the logarithm of the mean kinetic temperature."""
    return [exp(-DH_OVER_R_K / (value + ZERO_CELSIUS_K)) * lasts for value, lasts in zip(celsius, lasting, strict=True)]


def _out_of_range(
    offsets: list[int],
    celsius: list[float],
    lasting: list[int],
    high: float,
    low: float,
    side: int,
    vouched_until: int,
    vouch: int,
) -> tuple[int, int, int]:
    """Milliseconds above and below, and how many excursions begin.

    An excursion begins with a reading out of range on one side whose predecessor was not, or no longer vouched: what
    happened in a gap is unknown, so it joins nothing.
    """
    above = below = excursions = 0
    for at, value, lasts in zip(offsets, celsius, lasting, strict=True):
        now = (value > high) - (value < low)
        if now and (now != side or at > vouched_until):
            excursions += 1
        side, vouched_until = now, at + vouch
        if now > 0:
            above += lasts
        elif now:
            below += lasts
    return above, below, excursions


def mean_kinetic_temperature_c(mkt_sum: float, seconds: float) -> float | None:
    """The one temperature that would stress the goods as much as the measured course did, or null without any time.

    T = (dH/R) / -ln(sum(exp(-dH/(R Ti)) ti) / sum(ti)), time-weighted, because readings do not come evenly.
    Source: Haynes 1971, as in USP <1079.2> and ICH Q1A(R2), with dH = 83.144 kJ/mol.
    """
    if seconds <= 0 or mkt_sum <= 0:
        return None
    return DH_OVER_R_K / -math.log(mkt_sum / seconds) - ZERO_CELSIUS_K
