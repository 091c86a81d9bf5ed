"""Buckets of real workers on the real broker, against a plain loop over the raw readings."""

from __future__ import annotations

import random
import time
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pytest

from domain.detection.aggregate_numbers import BUCKET_MS, grading
from schemas import messages as m
from schemas.messages import encode
from tests.domain.detection.bucket_reference import agrees, reference
from tests.domain.detection.bucket_worker import newest_revisions

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Eventually
    from tests.pipeline.conftest import Space, Worker

pytestmark = pytest.mark.broker

MINUTE = 60_000
DECODE = msgspec.json.Decoder(m.AggregateBucket).decode
RULES = (
    m.Rule(rule_id="hot", limit=m.Limit.HIGH, severity=m.Severity.CRITICAL, limit_c=5.0),
    m.Rule(rule_id="cold", limit=m.Limit.LOW, severity=m.Severity.CRITICAL, limit_c=0.0),
)
UNITS = [m.UnitConfig(unit_id=f"u{n}", organization_id="org", name=f"Fridge {n}", rules=RULES) for n in range(6)]

Series = list[tuple[int, float]]


def configure(space: Space, *units: m.UnitConfig) -> None:
    for unit in units:
        space.send("units", unit.unit_id, encode(unit))
    space.flush()


def published(space: Space) -> list[m.AggregateBucket]:
    return [DECODE(message.value() or b"") for message in space.read("unit-aggregates")]


def final(space: Space) -> dict[str, dict[int, m.AggregateBucket]]:
    found: dict[str, dict[int, m.AggregateBucket]] = {}
    for bucket in newest_revisions(published(space)):
        found.setdefault(bucket.unit_id, {})[bucket.starts_at_ms] = bucket
    return found


def series_of(rng: random.Random, start_ms: int) -> Series:
    """Three hours, a reading a minute, one gap."""
    gap = rng.randrange(150)
    minutes = [minute for minute in range(180) if not gap <= minute < gap + 25]
    return [(start_ms + minute * MINUTE + rng.randrange(MINUTE), round(rng.gauss(3, 2), 1)) for minute in minutes]


def as_it_comes(rng: random.Random, series: Series) -> Series:
    """5 % come twice, 5 % much later than they were measured, neighbours out of order."""
    sent = [(index + rng.random(), reading) for index, reading in enumerate(series)]
    sent += [(index + rng.randrange(40), reading) for index, reading in rng.sample(sent, len(series) // 20)]
    late = set(rng.sample(range(len(sent)), len(series) // 20))
    sent = [
        (place + rng.randrange(20, 80) if number in late else place, reading)
        for number, (place, reading) in enumerate(sent)
    ]
    return [reading for _, reading in sorted(sent)]


def agrees_with(space: Space, wanted: dict[str, Series]) -> bool:
    """Whether all buckets are there, with as many readings as they must have; the numbers come after."""
    found = final(space)
    for unit in UNITS:
        expected = reference(wanted[unit.unit_id], grading(unit))
        have = {start: bucket.count for start, bucket in found.get(unit.unit_id, {}).items()}
        if have != {start: len(bucket["values"]) for start, bucket in expected.items()}:  # type: ignore[arg-type]
            return False
    return True


def test_the_numbers_equal_a_loop_over_the_raw_readings_though_the_worker_is_killed_three_times(
    space: Space, start_worker: Callable[..., Worker], eventually: Eventually
) -> None:
    rng = random.Random(20261124)
    start_ms = int(time.time() * 1000) // BUCKET_MS * BUCKET_MS - 6 * 3_600_000
    wanted = {unit.unit_id: series_of(rng, start_ms) for unit in UNITS}
    coming = [(unit_id, reading) for unit_id, series in wanted.items() for reading in as_it_comes(rng, series)]
    place = dict.fromkeys(wanted, 0)
    order = [unit_id for unit_id, _ in coming]
    rng.shuffle(order)
    by_unit = {unit.unit_id: [r for unit_id, r in coming if unit_id == unit.unit_id] for unit in UNITS}
    configure(space, *UNITS)
    worker = start_worker("detection", BUCKET_GRACE_S="2")
    quarter = len(order) // 4 + 1
    for part in range(4):
        for unit_id in order[part * quarter : (part + 1) * quarter]:
            at_ms, celsius = by_unit[unit_id][place[unit_id]]
            place[unit_id] += 1
            space.send("readings", unit_id, encode(m.ReadingBatch(unit_id, [m.Reading(at_ms, celsius)])))
        space.flush()
        if part < 3:
            known = len(published(space))
            eventually(partial(lambda known: len(published(space)) > known, known), within_s=40)
            worker.kill()
            worker.start()
    # The last buckets are closed by the wall clock: nothing comes after them.
    eventually(partial(agrees_with, space, wanted), within_s=60)
    found = final(space)
    for unit in UNITS:
        agrees(found[unit.unit_id], reference(wanted[unit.unit_id], grading(unit)))
    assert any(bucket.revision > 1 for bucket in published(space))
