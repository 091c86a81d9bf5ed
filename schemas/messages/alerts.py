"""What happens to alerts, and what people order about them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from schemas.messages.fields import AtMs, Celsius, Id
from schemas.messages.severity import AlertKind, Severity


class AlertEvent(Struct, frozen=True, kw_only=True, tag_field="type"):
    """What happened to one alert; key: unit id. `alert_id` is a UUIDv5 of (unit, rule, start of the breach)."""

    alert_id: Id
    unit_id: Id
    organization_id: Id
    rule_id: Id
    kind: AlertKind
    severity: Severity
    started_at_ms: AtMs
    at_ms: AtMs
    temperature_c: Celsius | None = None
    limit_c: Celsius | None = None
    clock_offset_s: Annotated[
        int | None, Meta(description="`sensor_clock`: how far the clock is ahead, or behind when negative")
    ] = None


class AlertTriggered(AlertEvent, frozen=True, kw_only=True, tag="triggered"):
    """A breach was confirmed. `paging` is false when a maintenance window or an inhibition keeps it silent."""

    paging: bool = True
    silent_because: str | None = None


class SeverityRaised(AlertEvent, frozen=True, kw_only=True, tag="severity_escalated"):
    """A silent or inhibited alert began to page, or its severity rose.

    The tag is the one that stored messages have.
    """

    former_severity: Severity


class AlertResolved(AlertEvent, frozen=True, kw_only=True, tag="resolved"):
    """The breach ended: `at_ms` is the reading that ended it, `extreme_c` the worst temperature seen."""

    extreme_c: Celsius | None = None
    because: str = "recovered"


Alert = AlertTriggered | SeverityRaised | AlertResolved


class AlertCommand(Struct, frozen=True, kw_only=True, tag_field="type"):
    """What a person orders about an alert; key: unit id."""

    alert_id: Id
    unit_id: Id
    organization_id: Id
    user_id: Id
    at_ms: AtMs


class Acknowledge(AlertCommand, frozen=True, kw_only=True, tag="acknowledge"):
    via: str = "api"


class NotifyNow(AlertCommand, frozen=True, kw_only=True, tag="notify_now"):
    pass


class Silence(AlertCommand, frozen=True, kw_only=True, tag="silence"):
    until_at_ms: AtMs


Command = Acknowledge | NotifyNow | Silence
