"""Alerts and the steps of their timelines in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from api.alerts import LISTS_OF_USERS
from database.declarative import to_ms
from domain.digest import words
from domain.personal_data import masked_text
from schemas import messages as m
from schemas.identity import plain, plain_each

if TYPE_CHECKING:
    from collections.abc import Mapping

    from database.alert_events import AlertEventRow
    from database.records import AlertRow

_EVENTS = {
    "triggered": "Alert began",
    "severity_escalated": "Became more severe",
    "resolved": "Over",
    "acknowledged": "Acknowledged by {who}",
    "notify_now": "{who} asked to notify people now",
    "silenced": "Snoozed by {who}",
    "escalation_stepped": "Escalated to level {level}",
    "escalation_ended": "Escalation ended",
    "sms_requested": "SMS to {who}",
    "sms_sending": "Handing the SMS to {who} over to the provider",
    "sms_sent": "The provider accepted the SMS to {who}",
    "sms_delivered": "SMS delivered to {who}",
    "sms_failed": "The SMS to {who} failed",
    "sms_retry_scheduled": "The SMS to {who} will be tried again",
    "sms_rate_limited": "No SMS to {who} of its own before {until}, because of the SMS {by}",
    "sms_cancelled": "No SMS to {who}: nobody needs it any longer",
    "page_missed": "{who} was not reached",
    "replied": "{who} answered",
    "fallback_asked": "Nobody left: {who} as the fallback contact",
    "email_requested": "By e-mail to {who} as well",
    "email_sent": "The mail server accepted the e-mail to {who}",
    "email_failed": "The e-mail to {who} failed and will be tried again",
    "email_dead": "The e-mail to {who} was given up",
    "sms_unknown": "Whether the SMS reached {who} is not known",
    "sms_dead": "The SMS to {who} was given up",
    "sms_named": "Named in another SMS to {who}",
    "sms_opted_out": "No SMS to {who}: the number opted out",
}
# Shown under another heading, or of use to operators only.
_LEFT_OUT = frozenset({"request_id", "by_request_id", "attempt", "level", "via", "message_id"})


class AlertLine(Struct, frozen=True, kw_only=True):
    """An alert as lists and its page show it. Times are in milliseconds."""

    alert_id: str
    unit_id: str
    unit_name: str
    severity: str
    problem: str
    started_at_ms: int
    ended_at_ms: int | None
    lasted: str
    extreme: str
    limit: str
    acknowledged_at_ms: int | None
    acknowledged_by: str | None
    note: str | None
    silent_because: str | None


class EntryLine(Struct, frozen=True):
    """One step of a timeline."""

    at_ms: int
    said: str
    detail: str
    event: str


def alert_line(row: AlertRow, unit_name: str, display_unit: str, now_ms: int) -> AlertLine:
    ended_at_ms = None if row.resolved_at is None else to_ms(row.resolved_at)
    started_at_ms = to_ms(row.started_at)
    worst = row.extreme_c if row.extreme_c is not None else row.temperature_c
    return AlertLine(
        alert_id=row.alert_id,
        unit_id=row.unit_id,
        unit_name=unit_name,
        severity=row.severity,
        problem=words.problem(m.AlertKind(row.kind)),
        started_at_ms=started_at_ms,
        ended_at_ms=ended_at_ms,
        lasted=words.duration(max(0, (ended_at_ms or now_ms) - started_at_ms)),
        extreme="" if worst is None else words.temperature(worst, display_unit, row.limit_c),
        limit="" if row.limit_c is None else words.temperature(row.limit_c, display_unit),
        acknowledged_at_ms=None if row.acknowledged_at is None else to_ms(row.acknowledged_at),
        acknowledged_by=row.acknowledged_by and plain(row.acknowledged_by),
        note=row.acknowledgement_note,
        silent_because=None if row.paging else row.silent_because or "silenced",
    )


def entry_line(row: AlertEventRow, people: Mapping[str, str]) -> EntryLine:
    """What happened; an event of a newer version is shown by its own name."""
    detail = {name: plain_each(value) if name in LISTS_OF_USERS else value for name, value in row.detail.items()}
    who = people.get(row.user_id or "", plain(row.user_id or "somebody"))
    template = _EVENTS.get(row.event)
    values = {"level": detail.get("level", "?"), "until": detail.get("until", "?"), "by": detail.get("by_request_id")}
    said = template.format(who=who, **values) if template else row.event.replace("_", " ")
    if template is None and row.user_id:
        said = f"{said}: {who}"
    shown = (f"{name.replace('_', ' ')}: {value}" for name, value in detail.items() if name not in _LEFT_OUT)
    text = detail.get("text")
    return EntryLine(to_ms(row.at), said, text or masked_text("; ".join(shown)), row.event)
