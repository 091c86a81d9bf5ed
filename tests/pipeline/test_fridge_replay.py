"""A day of a fridge, a real and a simulated one, through the real broker, against an independent loop."""

from __future__ import annotations

import csv
import random
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest

from producers.refrigeration import Profile
from producers.simulator import Conditions, SimulatedUnit, readings_of
from schemas import messages as m
from schemas.messages import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Eventually
    from tests.pipeline.conftest import Space, Worker

FRIDGE = Path(__file__).resolve().parents[3] / "shared" / "data" / "ruuvi_fridge" / "fridge.csv"
LIMIT_C = 3.0
UNIT = m.UnitConfig(
    unit_id="fridge-1",
    organization_id="org-1",
    name="Fridge",
    live_window_s=100 * 365 * 86_400,
    rules=(m.Rule(rule_id="high", limit=m.Limit.HIGH, severity=m.Severity.CRITICAL, limit_c=LIMIT_C),),
)
pytestmark = pytest.mark.broker


class Span(NamedTuple):
    started_at_ms: int
    ended_at_ms: int | None


def readings_of_the_file() -> list[m.Reading]:
    if not FRIDGE.exists():
        pytest.skip("the fridge's export does not lie beside the project")
    with FRIDGE.open() as lines:
        return [
            m.Reading(round(datetime.fromisoformat(row["timestamp"]).timestamp() * 1000), float(row["temperature"]))
            for row in csv.DictReader(lines)
        ]


def readings_of_a_simulated_fridge() -> list[m.Reading]:
    """A day of a fridge that swings round 3 °C, a reading every four minutes, the same at every run."""
    fridge = SimulatedUnit(unit_id=UNIT.unit_id, profile=Profile(setpoint_c=2.0))
    emissions = readings_of(
        [fridge], start_at_ms=1_588_665_600_000, seed=7, conditions=Conditions(interval_s=240), duration_s=86_400
    )
    return [reading for emission in emissions for reading in emission.batch.readings]


@pytest.fixture(params=[readings_of_the_file, readings_of_a_simulated_fridge], ids=["real", "simulated"])
def readings(request: pytest.FixtureRequest) -> list[m.Reading]:
    found: list[m.Reading] = request.param()
    return found


def spans_by_a_plain_loop(readings: list[m.Reading]) -> list[Span]:
    spans: list[Span] = []
    since: int | None = None
    newest = -1
    for reading in readings:
        if reading.at_ms <= newest:
            continue
        newest = reading.at_ms
        if since is None and reading.temperature_c > LIMIT_C:
            since = reading.at_ms
        elif since is not None and reading.temperature_c <= LIMIT_C:
            spans.append(Span(since, reading.at_ms))
            since = None
    return spans if since is None else [*spans, Span(since, None)]


def spans_of_the_alerts(space: Space) -> list[Span]:
    decode = msgspec.json.Decoder(m.Alert).decode
    starts: dict[str, int] = {}
    ends: dict[str, int] = {}
    for message in space.read("alerts"):
        value = message.value()
        assert value is not None
        alert = decode(value)
        known = ends if isinstance(alert, m.AlertResolved) else starts
        at_ms = alert.at_ms if isinstance(alert, m.AlertResolved) else alert.started_at_ms
        # The same alert may come again after a kill; then it must be the same in every respect.
        assert known.setdefault(alert.alert_id, at_ms) == at_ms
    assert set(ends) <= set(starts)
    return sorted(Span(start, ends.get(alert_id)) for alert_id, start in starts.items())


def has_at_least(space: Space, wanted: int) -> bool:
    return len(spans_of_the_alerts(space)) >= wanted


def test_the_alerts_equal_those_of_a_loop_over_the_file(
    space: Space, start_worker: Callable[..., Worker], eventually: Eventually, readings: list[m.Reading]
) -> None:
    expected = spans_by_a_plain_loop(readings)
    assert len(expected) > 3
    space.send("units", UNIT.unit_id, encode(UNIT))
    space.flush()
    start_worker("detection", READING_MAX_AGE_D="36500")
    for reading in readings:
        space.send("readings", UNIT.unit_id, encode(m.ReadingBatch(UNIT.unit_id, [reading])))
    space.flush()
    eventually(lambda: spans_of_the_alerts(space) == expected, within_s=40)


def test_sent_twice_and_killed_three_times_gives_the_same_alerts_each_once(
    space: Space, start_worker: Callable[..., Worker], eventually: Eventually, readings: list[m.Reading]
) -> None:
    expected = spans_by_a_plain_loop(readings)
    space.send("units", UNIT.unit_id, encode(UNIT))
    space.flush()
    worker = start_worker("detection", READING_MAX_AGE_D="36500")
    chance = random.Random(7)
    quarter = len(readings) // 4 + 1
    for part in range(4):
        for reading in readings[part * quarter : (part + 1) * quarter]:
            for _ in range(2):
                space.send("readings", UNIT.unit_id, encode(m.ReadingBatch(UNIT.unit_id, [reading])))
        space.flush()
        if part < 3:
            done = len([span for span in expected if span.started_at_ms <= readings[(part + 1) * quarter - 1].at_ms])
            wanted = chance.randrange(done + 1)
            eventually(partial(has_at_least, space, wanted), within_s=40)
            worker.kill()
            worker.start()
    eventually(lambda: spans_of_the_alerts(space) == expected, within_s=60)
    assert worker.running()
