"""Equality at each bound: within it or not."""

import pytest
from msgspec.structs import replace

from domain.detection.aggregate_state import UnitBuckets
from domain.detection.breach import Breach, Phase
from domain.detection.readings import sort_records
from domain.detection.threshold import evaluate, settled
from domain.detection.unit_state import UnitState, Watch
from schemas import messages as m
from schemas.messages.reading_bounds import COLDEST_C, EARLIEST_MS, WARMEST_C
from tests.domain.detection.records import MAX_AGE_MS, START_MS, Raw, run_of

UNIT = m.UnitConfig(
    unit_id="u",
    organization_id="org",
    name="Fridge",
    live_window_s=900,
    rules=(
        m.Rule(rule_id="hot", limit=m.Limit.HIGH, severity=m.Severity.CRITICAL, limit_c=8.0),
        m.Rule(rule_id="cold", limit=m.Limit.LOW, severity=m.Severity.CRITICAL, limit_c=2.0),
    ),
)
WATCH = Watch.over(UNIT)
STATE = UnitState(4, START_MS, (), UnitBuckets())


@pytest.mark.parametrize(
    ("second", "celsius", "offset", "is_settled"),
    [
        (1, 8.0, 5, True),
        (1, 8.01, 5, False),
        (1, 2.0, 5, True),
        (1, 1.99, 5, False),
        (0, 5.0, 5, False),
        (1, 5.0, 4, False),
    ],
)
def test_a_run_settles_up_to_the_limits_and_behind_the_time_and_the_offset_of_the_state(
    second: float, celsius: float, offset: int, is_settled: bool
) -> None:
    after = settled(WATCH, STATE, run_of([(second, celsius)], offset=offset), START_MS + 1_000)
    assert (after is not None) is is_settled


@pytest.mark.parametrize(("age_ms", "late"), [(900_000, 0), (900_001, 1)])
def test_the_live_window_includes_its_start(age_ms: int, late: int) -> None:
    run = run_of([(1, 5.0)], offset=5)
    now_ms = START_MS + 1_000 + age_ms
    assert evaluate(WATCH, STATE, run, now_ms).tally.late == late
    assert (settled(WATCH, STATE, run, now_ms) is None) is bool(late)


@pytest.mark.parametrize("celsius", [COLDEST_C, WARMEST_C])
@pytest.mark.parametrize("at_ms", [EARLIEST_MS, START_MS])
def test_a_reading_at_its_bounds_is_used_beside_a_bad_one_too(celsius: float, at_ms: int) -> None:
    good, bad = f'{{"at_ms":{at_ms},"temperature_c":{celsius}}}', f'{{"at_ms":{at_ms},"temperature_c":NaN}}'
    record = Raw(b"u", f'{{"unit_id":"u","readings":[{good},{bad}]}}'.encode())
    found = sort_records([record], START_MS, START_MS)
    assert [(refusal.reason, refusal.count) for refusal in found.refusals] == [(m.DeadLetterReason.NOT_FINITE, 1)]
    assert found.runs[b"u"].temperatures == [celsius]


@pytest.mark.parametrize(("beyond_ms", "used"), [(0, True), (1, False)])
def test_a_reading_may_be_as_old_and_as_far_ahead_as_the_bounds_say(beyond_ms: int, used: bool) -> None:
    for at_ms in (START_MS - MAX_AGE_MS - beyond_ms, START_MS + 300_000 + beyond_ms):
        record = Raw(b"u", m.encode(m.ReadingBatch("u", [m.Reading(at_ms, 5.0)])))
        assert bool(sort_records([record], START_MS, MAX_AGE_MS).runs) is used


def test_an_alert_of_the_former_owner_ends_with_the_first_reading_of_the_next_one() -> None:
    breach = Breach("hot", "former", m.Limit.HIGH, 8.0, m.Severity.CRITICAL, Phase.FIRING, START_MS, 9.0, paging=True)
    state = replace(STATE, breaches=(breach,))
    ended, begun = evaluate(WATCH, state, run_of([(1, 9.0)], offset=5), START_MS + 1_000).alerts
    assert isinstance(ended, m.AlertResolved)
    assert (ended.organization_id, ended.because) == ("former", "unit moved to another organization")
    assert isinstance(begun, m.AlertTriggered)
    assert begun.organization_id == "org"
