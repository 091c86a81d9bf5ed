"""Readings of a simulated fleet: a pure generator, the same for the same seed, with no clock of its own.

`readings_of(fleet, ...)` yields what each gateway sends and when; `producers/pacing.py` plays it in real time.

Two ways to be fast. `compression` lets more happen between two readings while their times stay as they are: the
workers refuse readings from the future, so a live demo stamps real time and lets an hour of refrigeration pass in a
minute. And a start in the past, played without pacing, gives days of readings at once.
"""

from __future__ import annotations

import heapq
import itertools
from random import Random
from typing import TYPE_CHECKING

from msgspec import Struct

from producers.refrigeration import DAY_S, FRIDGE, Profile, Trouble, Unit
from schemas.messages import Reading, ReadingBatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Incident(Struct, frozen=True, kw_only=True):
    """A trouble that surely happens; seconds of the readings' own time since the start."""

    unit_id: str
    trouble: Trouble
    starts_s: float
    lasts_s: float


class SimulatedUnit(Struct, frozen=True, kw_only=True):
    unit_id: str
    profile: Profile = FRIDGE


class Conditions(Struct, frozen=True, kw_only=True):
    """How readings are taken and carried.

    interval_s: seconds between two readings of a unit, in the readings' own time.
    compression: seconds of refrigeration that pass in one second of the readings' time.
    readings_per_batch: how many readings of a unit its gateway collects before it sends them.
    duplicate_share: this share of the batches is sent again, `duplicate_after_s` later.
    late_share: this share of the batches is held back by `late_by_s`; their times tell when they were measured.
    """

    interval_s: float = 60.0
    compression: float = 1.0
    readings_per_batch: int = 1
    duplicate_share: float = 0.0
    duplicate_after_s: float = 5.0
    late_share: float = 0.0
    late_by_s: float = 600.0

    def __post_init__(self) -> None:
        if min(self.interval_s, self.compression, self.readings_per_batch) <= 0:
            raise ValueError(
                f"interval {self.interval_s} s, compression {self.compression} and {self.readings_per_batch} readings"
                " a batch must all be above zero"
            )


class Emission(Struct, frozen=True):
    """A batch, and when it leaves its gateway, milliseconds since 1970-01-01 UTC."""

    due_at_ms: int
    batch: ReadingBatch


def readings_of(
    units: Iterable[SimulatedUnit],
    *,
    start_at_ms: int,
    seed: int,
    conditions: Conditions | None = None,
    incidents: Iterable[Incident] = (),
    duration_s: float | None = None,
) -> Iterator[Emission]:
    """What the gateways of these units send from `start_at_ms` on, in the order of sending.

    Endless without `duration_s`, seconds of the readings' time. A unit's readings depend on the seed and its own id,
    not on which other units there are.
    """
    conditions = conditions or Conditions()
    by_unit: dict[str, list[Incident]] = {}
    for incident in incidents:
        by_unit.setdefault(incident.unit_id, []).append(incident)
    streams = [
        _emissions(unit, by_unit.get(unit.unit_id, []), start_at_ms, seed, conditions, duration_s) for unit in units
    ]
    return heapq.merge(*streams, key=lambda emission: emission.due_at_ms)


def _emissions(
    unit: SimulatedUnit,
    incidents: list[Incident],
    start_at_ms: int,
    seed: int,
    conditions: Conditions,
    duration_s: float | None,
) -> Iterator[Emission]:
    """One unit's batches with repetitions and delays, ordered by the time of sending."""
    # Its own generator: whether batches are repeated must not change what the sensor measures.
    rng = Random(f"{seed}/carriage/{unit.unit_id}")  # noqa: S311
    tie = itertools.count()
    held: list[tuple[int, int, ReadingBatch]] = []
    for batch in _batches(_measured(unit, incidents, start_at_ms, seed, conditions, duration_s), unit, conditions):
        now_ms = batch.readings[-1].at_ms
        while held and held[0][0] <= now_ms:
            due_at_ms, _, waiting = heapq.heappop(held)
            yield Emission(due_at_ms, waiting)
        late_ms = round(conditions.late_by_s * 1000) if rng.random() < conditions.late_share else 0
        heapq.heappush(held, (now_ms + late_ms, next(tie), batch))
        if rng.random() < conditions.duplicate_share:
            again_ms = now_ms + late_ms + round(conditions.duplicate_after_s * 1000)
            heapq.heappush(held, (again_ms, next(tie), batch))
        while held and held[0][0] <= now_ms:
            due_at_ms, _, waiting = heapq.heappop(held)
            yield Emission(due_at_ms, waiting)
    while held:
        due_at_ms, _, waiting = heapq.heappop(held)
        yield Emission(due_at_ms, waiting)


def _batches(readings: Iterator[Reading], unit: SimulatedUnit, conditions: Conditions) -> Iterator[ReadingBatch]:
    while collected := list(itertools.islice(readings, conditions.readings_per_batch)):
        yield ReadingBatch(unit.unit_id, collected)


def _measured(
    simulated: SimulatedUnit,
    incidents: list[Incident],
    start_at_ms: int,
    seed: int,
    conditions: Conditions,
    duration_s: float | None,
) -> Iterator[Reading]:
    """One unit's readings; `*_s` counts the readings' time, and compressed time is what the unit lives through."""
    rng = Random(f"{seed}/{simulated.unit_id}")  # noqa: S311
    unit = Unit(simulated.profile, rng)
    compression = conditions.compression
    day_s = (start_at_ms / 1000) % DAY_S
    # Units are not read in the same instant.
    at_s = rng.uniform(0.0, conditions.interval_s)
    lived_s = 0.0
    waiting = sorted(incidents, key=lambda incident: incident.starts_s, reverse=True)
    while duration_s is None or at_s < duration_s:
        while waiting and waiting[-1].starts_s <= at_s:
            incident = waiting.pop()
            begins_s = incident.starts_s * compression
            unit.advance(lived_s, begins_s, day_s)
            lived_s = max(lived_s, begins_s)
            unit.suffer(incident.trouble, (incident.starts_s + incident.lasts_s) * compression)
        unit.advance(lived_s, at_s * compression, day_s)
        lived_s = at_s * compression
        if not unit.suffers(Trouble.SENSOR_SILENCE, lived_s):
            yield Reading(start_at_ms + round(at_s * 1000), unit.measure_c())
        at_s += conditions.interval_s
