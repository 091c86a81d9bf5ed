"""The physics of one simulated unit: air that warms through walls and open doors, and a compressor that cools it.

Each influence pulls the air's temperature towards its own with a time constant, as in Newton's law of cooling. That is
coarse, and gives what real loggers show: a saw tooth of compressor cycles, defrost humps, door peaks, warm afternoons.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from random import Random

DAY_S = 86_400
STEP_S = 10.0
# People come between these hours (UTC); at night a door opens a tenth as often.
OPEN_HOURS = range(7, 21)
NIGHT_SHARE = 0.1
LONGEST_DOOR_S = 120.0


class Trouble(StrEnum):
    """What can go wrong with a unit."""

    COMPRESSOR_FAILURE = "compressor_failure"
    DOOR_LEFT_OPEN = "door_left_open"
    SENSOR_SILENCE = "sensor_silence"


class Profile(Struct, frozen=True, kw_only=True):
    """What kind of unit it is. Fields `*_s` are seconds; `loss_s`, `door_s` and `cooling_s` are time constants."""

    setpoint_c: float = 4.0
    band_c: float = 1.0
    room_c: float = 21.0
    room_swing_c: float = 3.0
    loss_s: float = 6_000.0
    door_s: float = 400.0
    evaporator_c: float = -15.0
    cooling_s: float = 1_200.0
    defrost_every_s: float = 8 * 3_600
    defrost_lasts_s: float = 480.0
    defrost_c: float = 5.0
    defrost_s: float = 6_000.0
    doors_per_hour: float = 4.0
    door_mean_s: float = 20.0
    noise_c: float = 0.04
    failures_per_day: float = 0.0
    silences_per_day: float = 0.0


FRIDGE = Profile()
FREEZER = Profile(
    setpoint_c=-20.0,
    band_c=1.5,
    loss_s=14_000.0,
    door_s=900.0,
    evaporator_c=-38.0,
    doors_per_hour=1.0,
    defrost_lasts_s=600.0,
)
TRUCK = Profile(setpoint_c=3.0, room_swing_c=6.0, loss_s=5_000.0, door_s=600.0, doors_per_hour=8.0)


class Unit:
    """The state of one unit. Draws everything that is random from `rng`, so a seed tells the whole story."""

    def __init__(self, profile: Profile, rng: Random) -> None:
        self.profile = profile
        self._rng = rng
        self.temperature_c = profile.setpoint_c + rng.uniform(-profile.band_c, profile.band_c)
        self._cooling = rng.random() < 0.5
        self._next_defrost_s = rng.uniform(0.2, 1.0) * profile.defrost_every_s
        self._until_s: dict[Trouble, float] = {}
        self._door_until_s = -1.0

    def advance(self, from_s: float, to_s: float, time_of_day_s: float) -> None:
        """Let the time from `from_s` to `to_s` pass, seconds since the start; the day was so old at the start."""
        at_s = from_s
        while at_s < to_s:
            step_s = min(STEP_S, to_s - at_s)
            self._draw_events(at_s, step_s, (time_of_day_s + at_s) % DAY_S)
            self._step(at_s, step_s, (time_of_day_s + at_s) % DAY_S)
            at_s += step_s

    def suffer(self, trouble: Trouble, until_s: float) -> None:
        """Begin a trouble, or make it longer."""
        self._until_s[trouble] = max(until_s, self._until_s.get(trouble, -1.0))

    def suffers(self, trouble: Trouble, at_s: float) -> bool:
        return self._until_s.get(trouble, -1.0) > at_s

    def measure_c(self) -> float:
        """What the sensor says: hundredths of a degree, a little noise."""
        return round(self.temperature_c + self._rng.gauss(0.0, self.profile.noise_c), 2)

    def _draw_events(self, at_s: float, step_s: float, day_s: float) -> None:
        profile, rng = self.profile, self._rng
        share = 1.0 if int(day_s // 3_600) in OPEN_HOURS else NIGHT_SHARE
        if rng.random() < profile.doors_per_hour * share * step_s / 3_600:
            self._door_until_s = at_s + min(rng.expovariate(1 / profile.door_mean_s), LONGEST_DOOR_S)
        if profile.failures_per_day and rng.random() < profile.failures_per_day * step_s / DAY_S:
            self.suffer(Trouble.COMPRESSOR_FAILURE, at_s + rng.uniform(1.0, 3.0) * 3_600)
        if profile.silences_per_day and rng.random() < profile.silences_per_day * step_s / DAY_S:
            self.suffer(Trouble.SENSOR_SILENCE, at_s + rng.uniform(0.5, 2.0) * 3_600)
        if at_s >= self._next_defrost_s + profile.defrost_lasts_s:
            self._next_defrost_s += profile.defrost_every_s

    def _step(self, at_s: float, step_s: float, day_s: float) -> None:
        profile = self.profile
        # Warmest at 15:00.
        room_c = profile.room_c + profile.room_swing_c * math.cos(2 * math.pi * (day_s / DAY_S - 15 / 24))
        defrosting = at_s >= self._next_defrost_s
        if self.temperature_c > profile.setpoint_c + profile.band_c:
            self._cooling = True
        elif self.temperature_c < profile.setpoint_c - profile.band_c:
            self._cooling = False
        change_c = (room_c - self.temperature_c) / profile.loss_s
        if at_s < self._door_until_s or self.suffers(Trouble.DOOR_LEFT_OPEN, at_s):
            change_c += (room_c - self.temperature_c) / profile.door_s
        if defrosting:
            change_c += (profile.defrost_c - self.temperature_c) / profile.defrost_s
        elif self._cooling and not self.suffers(Trouble.COMPRESSOR_FAILURE, at_s):
            change_c += (profile.evaporator_c - self.temperature_c) / profile.cooling_s
        self.temperature_c += change_c * step_s
