"""The demo's fleet: a dozen units of two customers, the people who look after them, and a first breach for sure."""

from __future__ import annotations

import math
from typing import NamedTuple

from msgspec.structs import replace

from producers.refrigeration import FREEZER, FRIDGE, TRUCK, Profile, Trouble
from producers.simulator import Incident, SimulatedUnit
from schemas.identity import qualified
from schemas.messages import Cadence, Contact, DigestPreference, Limit, Rule, Severity, UnitConfig

# An hour of refrigeration in a minute: the demo shows cycles, defrosts and breaches while one watches.
COMPRESSION = 60.0
INTERVAL_S = 1.0
FIRST_BREACH_UNIT = qualified("harbor", "vaccines")
# A small fridge with a wide door: open, it passes 8 °C within a minute or two of refrigeration, and cools as fast.
SMALL_FRIDGE = replace(FRIDGE, door_s=150.0, cooling_s=700.0)
DOOR_OPENS_S = 0.0
DOOR_STANDS_OPEN_S = 3.0


class Fleet(NamedTuple):
    """What runs (`simulated`), and how it is configured (the other three)."""

    simulated: tuple[SimulatedUnit, ...]
    units: tuple[UnitConfig, ...]
    contacts: tuple[Contact, ...]
    digest_preferences: tuple[DigestPreference, ...]


class _Place(NamedTuple):
    name: str
    profile: Profile
    high_c: float
    low_c: float


class _Organization(NamedTuple):
    organization_id: str
    name: str
    display_unit: str
    timezone: str
    places: tuple[_Place, ...]
    people: tuple[tuple[str, Severity, int], ...]


# Vaccines belong between 2 and 8 °C; the others follow common practice of kitchens and haulage.
_ORGANIZATIONS = (
    _Organization(
        "harbor",
        "Harbor Clinic",
        "F",
        "America/New_York",
        (
            _Place("Vaccines", SMALL_FRIDGE, 8.0, 2.0),
            _Place("Pharmacy", FRIDGE, 8.0, 2.0),
            _Place("Laboratory", FRIDGE, 8.0, 2.0),
            _Place("Plasma", FREEZER, -14.0, -30.0),
            _Place("Reagents", FREEZER, -14.0, -30.0),
            _Place("Courier", TRUCK, 8.0, 0.0),
        ),
        (
            ("Ada Moreno", Severity.WARNING, 1),
            ("Ben Okafor", Severity.CRITICAL, 1),
            ("Chloe Lindqvist", Severity.CRITICAL, 2),
        ),
    ),
    _Organization(
        "orchard",
        "Orchard Foods",
        "C",
        "Europe/Berlin",
        (
            _Place("Dairy", FRIDGE, 8.0, 0.0),
            _Place("Fish", FRIDGE, 8.0, 0.0),
            _Place("Salad", FRIDGE, 9.0, 0.0),
            _Place("Ice cream", FREEZER, -13.0, -30.0),
            _Place("Bakery", FREEZER, -13.0, -30.0),
            _Place("Van", TRUCK, 9.0, -1.0),
        ),
        (
            ("Dina Haas", Severity.WARNING, 1),
            ("Emil Novak", Severity.CRITICAL, 1),
            ("Fara Jensen", Severity.CRITICAL, 2),
        ),
    ),
)


def demo_fleet(*, copies: int = 1, failures_per_day: float = 2.0, interval_s: float = INTERVAL_S) -> Fleet:
    """Twelve units of two organizations with six people; `copies` repeats the units under numbered names.

    `failures_per_day` counts for each unit and in compressed time: 2 with twelve units is a breach in most minutes.
    """
    simulated: list[SimulatedUnit] = []
    units: list[UnitConfig] = []
    contacts: list[Contact] = []
    preferences: list[DigestPreference] = []
    for organization in _ORGANIZATIONS:
        for copy in range(1, copies + 1):
            for place in organization.places:
                unit = _unit(organization, place, copy, interval_s)
                units.append(unit)
                profile = replace(
                    place.profile,
                    failures_per_day=0.0 if unit.unit_id == FIRST_BREACH_UNIT else failures_per_day,
                )
                simulated.append(SimulatedUnit(unit_id=unit.unit_id, profile=profile))
        for name, minimum, level in organization.people:
            first_name = name.split()[0].lower()
            user_id = qualified(organization.organization_id, first_name)
            contacts.append(
                Contact(
                    user_id=user_id,
                    organization_id=organization.organization_id,
                    name=name,
                    # +1 202 555 0100 to 0199 are reserved for fiction.
                    phone_e164=f"+120255501{len(contacts) + 1:02d}",
                    email=f"{first_name}@{organization.organization_id}.example.com",
                    minimum_severity=minimum,
                    escalation_level=level,
                )
            )
            preferences.append(
                DigestPreference(
                    user_id=user_id,
                    organization_id=organization.organization_id,
                    cadences=(Cadence.DAILY, Cadence.WEEKLY),
                    timezone=organization.timezone,
                    display_unit=organization.display_unit,
                )
            )
    return Fleet(tuple(simulated), tuple(units), tuple(contacts), tuple(preferences))


def first_breach() -> Incident:
    """A door left open: above 8 °C within 3 s of the start at COMPRESSION and INTERVAL_S, back within some seconds."""
    return Incident(
        unit_id=FIRST_BREACH_UNIT,
        trouble=Trouble.DOOR_LEFT_OPEN,
        starts_s=DOOR_OPENS_S,
        lasts_s=DOOR_STANDS_OPEN_S,
    )


def _unit(organization: _Organization, place: _Place, copy: int, interval_s: float) -> UnitConfig:
    number = "" if copy == 1 else f"-{copy}"
    return UnitConfig(
        unit_id=qualified(organization.organization_id, f"{place.name.lower().replace(' ', '-')}{number}"),
        organization_id=organization.organization_id,
        organization_name=organization.name,
        name=f"{place.name}{number.replace('-', ' ')}",
        display_unit=organization.display_unit,
        gateway_id=f"gateway-{copy}",
        expected_interval_s=max(1, math.ceil(interval_s)),
        offline_after_missed=15,
        rules=(
            Rule(
                rule_id="too-warm",
                limit=Limit.HIGH,
                severity=Severity.CRITICAL,
                limit_c=place.high_c,
                clear_c=place.high_c - 0.5,
                recover_readings=2,
            ),
            Rule(
                rule_id="too-cold",
                limit=Limit.LOW,
                severity=Severity.WARNING,
                limit_c=place.low_c,
                clear_c=place.low_c + 0.5,
                confirm_s=2,
                recover_readings=2,
            ),
        ),
    )
