"""What all events of one alert say alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from domain.identity import alert_id

if TYPE_CHECKING:
    from schemas import messages as m


class AboutAlert(TypedDict):
    """The fields that every `AlertEvent` of an alert has the same."""

    alert_id: str
    unit_id: str
    organization_id: str
    rule_id: str
    kind: m.AlertKind
    severity: m.Severity
    started_at_ms: int


def about_alert(
    unit_id: str,
    organization_id: str,
    rule_id: str,
    kind: m.AlertKind,
    severity: m.Severity,
    started_at_ms: int,
) -> AboutAlert:
    """The id follows from the unit, the rule and the start."""
    return {
        "alert_id": alert_id(unit_id, rule_id, started_at_ms),
        "unit_id": unit_id,
        "organization_id": organization_id,
        "rule_id": rule_id,
        "kind": kind,
        "severity": severity,
        "started_at_ms": started_at_ms,
    }
