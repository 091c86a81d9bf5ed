"""What people set: units with their rules, contacts, digest preferences. Compacted topics carry the newest of each."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from schemas.messages.fields import AtMs, Celsius, Id
from schemas.messages.severity import Severity


class Limit(StrEnum):
    HIGH = "high"
    LOW = "low"


class Rule(Struct, frozen=True, kw_only=True):
    """One threshold of a unit. Exactly at the limit is within it."""

    rule_id: Id
    limit: Limit
    severity: Severity
    limit_c: Celsius
    clear_c: Annotated[
        Celsius | None,
        Meta(description="Hysteresis: a breach ends at or inside this temperature; the limit itself when null"),
    ] = None
    confirm_s: Annotated[int, Meta(ge=0, description="A breach must last this long, in event time")] = 0
    recover_readings: Annotated[int, Meta(ge=1, description="Readings inside the clear limit that end a breach")] = 1


class MaintenanceWindow(Struct, frozen=True):
    """Defrost, cleaning: paging is silent, the record goes on. Start included, end not."""

    starts_at_ms: AtMs
    ends_at_ms: AtMs


class UnitConfig(Struct, frozen=True, kw_only=True):
    """A fridge, freezer or truck; key: unit id."""

    unit_id: Id
    organization_id: Id
    organization_name: str = ""
    name: str
    display_unit: Annotated[str, Meta(pattern="^[CF]$", description="Temperatures are shown in °C or °F")] = "C"
    gateway_id: Id | None = None
    rules: tuple[Rule, ...] = ()
    expected_interval_s: Annotated[int, Meta(ge=1)] = 300
    offline_after_missed: Annotated[int, Meta(ge=1, description="Missed intervals until sensor_offline")] = 3
    offline_delay_s: Annotated[int, Meta(ge=0, description="Further silence that is tolerated before the alert")] = 0
    offline_severity: Severity = Severity.WARNING
    live_window_s: Annotated[int, Meta(ge=1, description="Older readings update aggregates and never page")] = 900
    maintenance: tuple[MaintenanceWindow, ...] = ()


class Organization(Struct, frozen=True, kw_only=True):
    """A customer; key: organization id."""

    organization_id: Id
    name: str
    display_unit: Annotated[str, Meta(pattern="^[CF]$", description="Temperatures are shown in °C or °F")] = "C"
    sms_per_hour: Annotated[int, Meta(ge=1, description="Most SMS in any hour; no cap when null")] | None = None
    escalation_wait_s: (
        Annotated[int, Meta(ge=1, description="Without an answer, until the next level; the worker's own when null")]
        | None
    ) = None
    fallback_user_id: Annotated[
        Id | None, Meta(description="The contact who is paged when nobody else is left, on duty or not")
    ] = None


class Contact(Struct, frozen=True, kw_only=True):
    """A person to notify; key: user id."""

    user_id: Id
    organization_id: Id
    name: str
    phone_e164: Annotated[str, Meta(pattern=r"^\+[1-9]\d{1,14}$")] | None = None
    email: str | None = None
    minimum_severity: Severity = Severity.WARNING
    on_duty: bool = True
    escalation_level: Annotated[int, Meta(ge=1, description="Told first at level 1; later levels by escalation")] = 1
    sms_opted_out: bool = False
    organization_sms_per_hour: (
        Annotated[int, Meta(ge=1, description="The organization's own cap of SMS in any hour; none when null")] | None
    ) = None


class Cadence(StrEnum):
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


class DigestPreference(Struct, frozen=True, kw_only=True):
    """When a user gets which digest; key: user id.

    A cadence that is missing in `hours` comes at `hour`; one that is missing in `units` covers all units.
    """

    user_id: Id
    organization_id: Id
    cadences: tuple[Cadence, ...] = (Cadence.DAILY,)
    timezone: str = "UTC"
    hour: Annotated[int, Meta(ge=0, le=23)] | None = None
    hours: dict[Cadence, Annotated[int, Meta(ge=0, le=23)]] = {}
    units: dict[Cadence, tuple[Id, ...]] = {}
    display_unit: Annotated[str, Meta(pattern="^[CF]$")] = "C"
    paused: bool = False
