"""The demo's fleet as a seed file says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cli.seed.seed_file import Lines, SeedFile
from schemas.identity import plain

if TYPE_CHECKING:
    from producers.demo_fleet import Fleet
    from schemas.messages import Contact, UnitConfig

_UNIT = ("unit_id", "name", "gateway_id", "expected_interval_s", "offline_after_missed", "live_window_s", "rules")
_IDS = ("unit_id", "user_id")
_CONTACT = ("user_id", "name", "phone_e164", "email", "minimum_severity", "on_duty")
_DIGEST = ("cadences", "timezone", "hour", "hours", "units", "display_unit", "paused")


def demo_seed(fleet: Fleet) -> tuple[SeedFile, Lines]:
    """Organizations with their units, contacts, escalation chains and digest preferences."""
    units: dict[str, list[UnitConfig]] = {}
    for unit in fleet.units:
        units.setdefault(unit.organization_id, []).append(unit)
    organizations = []
    for organization_id, owned in units.items():
        people = [contact for contact in fleet.contacts if contact.organization_id == organization_id]
        digests = {digest.user_id: _fields(digest, _DIGEST) for digest in fleet.digest_preferences}
        organizations.append(
            {
                "organization_id": organization_id,
                "name": owned[0].organization_name,
                "display_unit": owned[0].display_unit,
                "units": [_fields(unit, _UNIT) for unit in owned],
                "contacts": [_fields(person, _CONTACT) | {"digest": digests.get(person.user_id)} for person in people],
                "escalation": _chain(people),
            }
        )
    return SeedFile.model_validate({"organizations": organizations}), Lines("the demo", {})


def _chain(people: list[Contact]) -> list[list[str]]:
    levels = sorted({person.escalation_level for person in people})
    return [[plain(person.user_id) for person in people if person.escalation_level == level] for level in levels]


def _fields(message: msgspec.Struct, names: tuple[str, ...]) -> dict[str, object]:
    whole = msgspec.to_builtins(message)
    return {name: plain(whole[name]) if name in _IDS else whole[name] for name in names}
