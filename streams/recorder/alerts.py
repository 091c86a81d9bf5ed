"""`alerts`, `alert-commands` and `escalations` → `alerts` and `alert_timeline`.

The three share key and partitions, and are recorded one after the other within a partition. A command may still be
recorded before its alert, so both look for the first acknowledgement when they are written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from schemas import messages as m
from schemas.topics import ALERT_COMMANDS, ALERTS, ESCALATIONS
from streams.recorder.rows import Incoming, Instant, Json, SqlRow, Statement, clean, insert

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class _AlertRow(SqlRow, frozen=True, kw_only=True, gc=False):
    alert_id: str
    unit_id: str
    organization_id: str
    rule_id: str
    kind: str
    severity: str
    started_at: Instant
    triggered_at: Instant


class Triggered(_AlertRow, frozen=True, kw_only=True, gc=False):
    paging: bool
    silent_because: str | None
    temperature_c: float | None
    limit_c: float | None


class Escalated(_AlertRow, frozen=True, kw_only=True, gc=False):
    """Where the alert itself was never recorded, `triggered_at` is this event's time."""


class Resolved(_AlertRow, frozen=True, kw_only=True, gc=False):
    """As `Escalated`."""

    resolved_at: Instant
    resolved_because: str
    extreme_c: float | None


class Acknowledged(SqlRow, frozen=True, kw_only=True, gc=False):
    """An alert to which the timeline may know an acknowledgement."""

    alert_id: str


class PagedAgain(SqlRow, frozen=True, gc=False):
    """Somebody was paged about an alert: an acknowledgement of long before has lapsed."""

    alert_id: str
    at: Instant


class TimelineEntry(SqlRow, frozen=True, kw_only=True, gc=False):
    alert_id: str
    organization_id: str
    at: Instant
    event: str
    user_id: str | None
    detail: Json
    message_id: str | None
    source_topic: str
    source_partition: int
    source_offset: int


TRIGGERED = insert(Triggered, "alerts", on_conflict="(alert_id) DO NOTHING", newest_of=("alert_id",))
ESCALATED = insert(
    Escalated,
    "alerts",
    newest_of=("alert_id",),
    on_conflict="(alert_id) DO UPDATE SET severity = excluded.severity, paging = true, silent_because = NULL",
)
RESOLVED = insert(
    Resolved,
    "alerts",
    newest_of=("alert_id",),
    on_conflict=(
        "(alert_id) DO UPDATE SET resolved_at = excluded.resolved_at, resolved_because = excluded.resolved_because,"
        " extreme_c = excluded.extreme_c WHERE alerts.resolved_at IS NULL"
    ),
)
# A command by the API is in the timeline before its message is out, with the same time.
TIMELINE = insert(
    TimelineEntry,
    "alert_timeline",
    on_conflict="DO NOTHING",
    where=(
        "NOT EXISTS (SELECT FROM alert_timeline AS known WHERE known.alert_id = new.alert_id"
        " AND known.at = to_timestamp(new.at / 1000.0::float8) AND known.event = new.event"
        " AND known.user_id IS NOT DISTINCT FROM new.user_id)"
    ),
)
# A step that was under way when somebody acknowledged, a minute before at most, is no lapse.
LAPSED = Statement(
    PagedAgain,
    "alerts",
    "UPDATE alerts SET acknowledged_at = NULL, acknowledged_by = NULL, acknowledged_via = NULL,"
    " acknowledgement_note = NULL FROM {rows} WHERE alerts.alert_id = new.alert_id"
    " AND alerts.acknowledged_at + interval '1 minute' < to_timestamp(new.at / 1000.0::float8)",
)
# The first one counts, of those that have not lapsed.
ACKNOWLEDGED = Statement(
    Acknowledged,
    "alerts",
    "UPDATE alerts SET acknowledged_at = first.at, acknowledged_by = first.user_id, acknowledged_via = first.via"
    " FROM (SELECT DISTINCT ON (alert_id) alert_id, at, user_id, detail ->> 'via' AS via FROM alert_timeline AS said"
    " WHERE event = 'acknowledged' AND alert_id IN (SELECT new.alert_id FROM {rows})"
    " AND NOT EXISTS (SELECT FROM alert_timeline AS later WHERE later.alert_id = said.alert_id"
    " AND later.event IN ('escalation_stepped', 'fallback_asked') AND later.at > said.at + interval '1 minute')"
    " ORDER BY alert_id, at, entry_id) AS first"
    " WHERE alerts.alert_id = first.alert_id AND alerts.acknowledged_at IS NULL",
)
SINKS = (TRIGGERED, ESCALATED, RESOLVED, TIMELINE, LAPSED, ACKNOWLEDGED)


def alert_rows(record: Incoming) -> Sequence[SqlRow]:
    """The alert's new state, and the step in its timeline."""
    alert = ALERTS.decode(record.value)
    celsius = {"temperature_c": alert.temperature_c, "limit_c": alert.limit_c}
    numbers = {name: f"{value:g}" for name, value in celsius.items() if value is not None}
    match alert:
        case m.AlertTriggered():
            detail = {"severity": alert.severity.value, **numbers}
            if alert.silent_because is not None:
                detail["silent_because"] = alert.silent_because
            step = _entry(record, alert, "triggered", detail)
            return _triggered(alert), step, Acknowledged(alert_id=alert.alert_id)
        case m.SeverityRaised():
            detail = {"severity": alert.severity.value, "former_severity": alert.former_severity.value, **numbers}
            return Escalated(**_identity(alert)), _entry(record, alert, "severity_escalated", detail)
        case m.AlertResolved():
            return _resolved(alert), _entry(record, alert, "resolved", {"because": alert.because, **numbers})


class _Identity(TypedDict):
    """What every row of an alert says of it."""

    alert_id: str
    unit_id: str
    organization_id: str
    rule_id: str
    kind: m.AlertKind
    severity: m.Severity
    started_at: int
    triggered_at: int


def _identity(alert: m.Alert) -> _Identity:
    return {
        "alert_id": alert.alert_id,
        "unit_id": alert.unit_id,
        "organization_id": alert.organization_id,
        "rule_id": alert.rule_id,
        "kind": alert.kind,
        "severity": alert.severity,
        "started_at": alert.started_at_ms,
        "triggered_at": alert.at_ms,
    }


def _triggered(alert: m.AlertTriggered) -> Triggered:
    return Triggered(
        **_identity(alert),
        paging=alert.paging,
        silent_because=alert.silent_because,
        temperature_c=alert.temperature_c,
        limit_c=alert.limit_c,
    )


def _resolved(alert: m.AlertResolved) -> Resolved:
    return Resolved(
        **_identity(alert),
        resolved_at=alert.at_ms,
        resolved_because=alert.because,
        extreme_c=alert.extreme_c,
    )


def command_rows(record: Incoming) -> Sequence[SqlRow]:
    """The step in the alert's timeline; an acknowledgement is set on the alert as well."""
    command = ALERT_COMMANDS.decode(record.value)
    match command:
        case m.Acknowledge():
            entry = _entry(record, command, "acknowledged", {"via": command.via}, command.user_id)
            return entry, Acknowledged(alert_id=command.alert_id)
        case m.NotifyNow():
            return (_entry(record, command, "notify_now", {}, command.user_id),)
        case m.Silence():
            return (_entry(record, command, "silenced", {"until_at_ms": str(command.until_at_ms)}, command.user_id),)


def escalation_rows(record: Incoming) -> Sequence[SqlRow]:
    """What the escalation did and why; that a page arrived is the outcome of its SMS, what fell due a step."""
    event = ESCALATIONS.decode(record.value)
    match event:
        case m.EscalationStepped():
            detail = {"level": str(event.level), "users": ", ".join(event.user_ids)} | _passed_over(event)
            return _entry(record, event, "escalation_stepped", detail), PagedAgain(event.alert_id, event.at_ms)
        case m.EscalationEnded():
            detail = {"level": str(event.level), "because": event.because} | _passed_over(event)
            return (_entry(record, event, "escalation_ended", detail),)
        case m.FallbackAsked():
            detail = {"level": str(event.level), "because": event.because}
            entry = _entry(record, event, "fallback_asked", detail, event.user_id)
            return entry, PagedAgain(event.alert_id, event.at_ms)
        case m.PageUndelivered():
            detail = {"level": str(event.level), "because": event.because}
            return (_entry(record, event, "page_missed", detail, event.user_id),)
        case m.PageReplied():
            detail = {"meaning": event.meaning, "text": clean(event.text)}
            return (_entry(record, event, "replied", detail, event.user_id),)
        case m.EscalationDue() | m.PageDelivered():
            return ()


def _passed_over(event: m.EscalationStepped | m.EscalationEnded) -> dict[str, str]:
    """Who was considered and not asked, each with the reason."""
    said = ", ".join(f"{one.user_id} ({one.because})" for one in event.not_asked)
    return {"not_asked": said} if said else {}


def _entry(
    record: Incoming,
    about: m.AlertEvent | m.AlertCommand | m.EscalationEvent,
    event: str,
    detail: Mapping[str, str],
    user_id: str | None = None,
) -> TimelineEntry:
    return TimelineEntry(
        alert_id=about.alert_id,
        organization_id=about.organization_id,
        at=about.at_ms,
        event=event,
        user_id=user_id,
        detail=m.encode(detail).decode(),
        message_id=record.message_id,
        source_topic=record.topic,
        source_partition=record.partition,
        source_offset=record.offset,
    )
