"""The simulated fleet: the same for the same seed, plausible, and in trouble when told."""

from __future__ import annotations

import re
import statistics
import threading
from itertools import islice, pairwise

import phonenumbers
import pytest

from producers import demo_fleet
from producers.pacing import pace
from producers.refrigeration import FREEZER, FRIDGE, Profile, Trouble
from producers.simulator import Conditions, Emission, Incident, SimulatedUnit, readings_of
from schemas.messages import Reading, ReadingBatch

START_MS = 1_800_000_000_000
HOUR_S = 3_600
CALM = Profile(doors_per_hour=0.0, defrost_every_s=10**9, noise_c=0.0, room_swing_c=0.0)


def readings(
    profile: Profile, *, seed: int = 1, hours: float = 24, incidents: tuple[Incident, ...] = ()
) -> list[Reading]:
    unit = SimulatedUnit(unit_id="u", profile=profile)
    emissions = readings_of([unit], start_at_ms=START_MS, seed=seed, incidents=incidents, duration_s=hours * HOUR_S)
    return [reading for emission in emissions for reading in emission.batch.readings]


def emissions_with(conditions: Conditions, units: int = 3) -> list[Emission]:
    fleet = [SimulatedUnit(unit_id=f"u{n}") for n in range(units)]
    return list(readings_of(fleet, start_at_ms=START_MS, seed=5, conditions=conditions, duration_s=6 * HOUR_S))


def test_the_same_seed_tells_the_same_story_and_another_seed_another() -> None:
    assert readings(FRIDGE, seed=7) == readings(FRIDGE, seed=7)
    assert readings(FRIDGE, seed=7) != readings(FRIDGE, seed=8)


def test_a_unit_does_not_change_when_another_joins() -> None:
    alone, among = emissions_with(Conditions(), units=1), emissions_with(Conditions(), units=4)
    assert alone == [emission for emission in among if emission.batch.unit_id == "u0"]


@pytest.mark.parametrize("profile", [FRIDGE, FREEZER])
def test_a_healthy_unit_cycles_around_its_setpoint(profile: Profile) -> None:
    values = [reading.temperature_c for reading in readings(profile, hours=72)]
    crossings = sum(a < profile.setpoint_c <= b for a, b in pairwise(values))
    assert statistics.mean(values) == pytest.approx(profile.setpoint_c, abs=0.3)
    assert 0.2 < statistics.stdev(values) < 2.0
    assert crossings > 72


def test_a_defrost_makes_a_hump_every_eight_hours() -> None:
    frosty = Profile(doors_per_hour=0.0, noise_c=0.0, defrost_lasts_s=1_800.0)
    warm = [r.at_ms / 1000 for r in readings(frosty, hours=72) if r.temperature_c > frosty.setpoint_c + 2]
    humps = [at for before, at in pairwise([0.0, *warm]) if at - before > HOUR_S]
    assert 7 <= len(humps) <= 9


def test_an_afternoon_is_warmer_than_a_night_while_the_compressor_is_off() -> None:
    uncooled = Profile(room_swing_c=5.0, loss_s=600.0, cooling_s=10**9, doors_per_hour=0.0, noise_c=0.0)
    by_hour = {r.at_ms // 1000 % 86_400 // HOUR_S: r.temperature_c for r in readings(uncooled, hours=48)[1440:]}
    assert by_hour[15] - by_hour[3] > 8


def test_a_failed_compressor_lets_it_warm_until_it_is_repaired() -> None:
    failure = Incident(unit_id="u", trouble=Trouble.COMPRESSOR_FAILURE, starts_s=HOUR_S, lasts_s=2 * HOUR_S)
    by_minute = [reading.temperature_c for reading in readings(CALM, hours=6, incidents=(failure,))]
    while_failed = by_minute[70:175]
    assert all(later > earlier for earlier, later in pairwise(while_failed))
    assert max(by_minute) == max(by_minute[170:185])
    assert max(by_minute) > 12
    assert max(by_minute[240:]) < CALM.setpoint_c + CALM.band_c + 0.5


def test_a_silent_sensor_sends_nothing_and_comes_back() -> None:
    silence = Incident(unit_id="u", trouble=Trouble.SENSOR_SILENCE, starts_s=HOUR_S, lasts_s=2 * HOUR_S)
    gaps = [(b.at_ms - a.at_ms) / 1000 for a, b in pairwise(readings(CALM, hours=6, incidents=(silence,)))]
    assert [gap for gap in gaps if gap > 61] == [pytest.approx(2 * HOUR_S, abs=120)]


def test_failures_and_silences_happen_as_often_as_told() -> None:
    unlucky = Profile(failures_per_day=2.0, silences_per_day=2.0)
    series = readings(unlucky, hours=24 * 30)
    silences = sum((b.at_ms - a.at_ms) > 61_000 for a, b in pairwise(series))
    assert 35 < silences < 80
    assert max(reading.temperature_c for reading in series) > 12


def test_a_gateway_sends_its_readings_together_and_none_is_missing() -> None:
    single, batched = emissions_with(Conditions()), emissions_with(Conditions(readings_per_batch=50))
    assert {len(e.batch.readings) for e in batched} <= {50, 10}
    assert flattened(batched) == flattened(single)
    assert all(e.due_at_ms == e.batch.readings[-1].at_ms for e in batched)


def test_repeated_and_late_batches_come_on_request_and_change_no_reading() -> None:
    plain = emissions_with(Conditions())
    rough = emissions_with(Conditions(duplicate_share=0.2, late_share=0.1, late_by_s=900.0))
    extra, late = len(rough) - len(plain), sum(e.due_at_ms - e.batch.readings[-1].at_ms >= 900_000 for e in rough)
    assert set(flattened(rough)) == set(flattened(plain))
    assert extra == pytest.approx(0.2 * len(plain), rel=0.3)
    assert late == pytest.approx(0.1 * len(rough), rel=0.4)
    assert [e.due_at_ms for e in rough] == sorted(e.due_at_ms for e in rough)


def flattened(emissions: list[Emission]) -> list[tuple[str, int, float]]:
    return sorted((e.batch.unit_id, r.at_ms, r.temperature_c) for e in emissions for r in e.batch.readings)


@pytest.mark.parametrize("seed", range(60))
def test_the_demo_breaches_within_3_s_and_recovers_within_15(seed: int) -> None:
    fleet = demo_fleet.demo_fleet()
    start_ms = START_MS + seed * 3_333_333
    emissions = readings_of(
        fleet.simulated,
        start_at_ms=start_ms,
        seed=seed,
        conditions=Conditions(interval_s=demo_fleet.INTERVAL_S, compression=demo_fleet.COMPRESSION),
        incidents=[demo_fleet.first_breach()],
        duration_s=16,
    )
    rule = next(u for u in fleet.units if u.unit_id == demo_fleet.FIRST_BREACH_UNIT).rules[0]
    assert rule.clear_c is not None
    series = [r for e in emissions if e.batch.unit_id == demo_fleet.FIRST_BREACH_UNIT for r in e.batch.readings]
    warm = [r.at_ms - start_ms for r in series if r.temperature_c > rule.limit_c]
    assert warm[0] <= 3_000
    assert [r.temperature_c < rule.clear_c for r in series if r.at_ms - start_ms > max(warm)][-2:] == [True, True]


def test_the_demo_uses_reserved_numbers_and_addresses_and_each_unit_has_rules() -> None:
    fleet = demo_fleet.demo_fleet(copies=3)
    assert len({unit.unit_id for unit in fleet.units}) == 36
    assert [unit.unit_id for unit in fleet.units] == [unit.unit_id for unit in fleet.simulated]
    assert all(unit.rules and unit.gateway_id for unit in fleet.units)
    for contact in fleet.contacts:
        assert contact.phone_e164 is not None
        assert contact.phone_e164.startswith("+120255501")
        assert phonenumbers.is_valid_number(phonenumbers.parse(contact.phone_e164))
        assert re.fullmatch(r"[a-z]+@([a-z-]+\.)?example\.com", contact.email or "")
    assert {contact.escalation_level for contact in fleet.contacts} == {1, 2}


class FakeClock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return False


def emission_at(at_ms: int) -> Emission:
    return Emission(at_ms, ReadingBatch("u", [Reading(at_ms, 4.0)]))


def test_pacing_waits_for_each_emission_and_a_speed_shortens_the_waits() -> None:
    clock = FakeClock()
    emissions = [emission_at(START_MS + ms) for ms in (500, 2_000, 2_000, 61_000)]
    times = [clock.now - 50.0 for _ in pace(emissions, start_at_ms=START_MS, stopped=clock.wait, speed=10, clock=clock)]
    assert times == pytest.approx([0.05, 0.2, 0.2, 6.1])


def test_a_stop_ends_the_pacing_at_once() -> None:
    stop = threading.Event()
    paced = pace((emission_at(START_MS + n) for n in range(10**9)), start_at_ms=START_MS, stopped=stop.wait)
    assert len(list(islice(paced, 3))) == 3
    stop.set()
    assert next(paced, None) is None


@pytest.mark.parametrize("speed", [0, -1])
def test_a_speed_of_nothing_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        next(pace([], start_at_ms=0, stopped=threading.Event().wait, speed=speed))


def test_conditions_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="must all be above zero"):
        Conditions(interval_s=0)
