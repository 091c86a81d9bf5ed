"""The records that detection sends about units: alerts, and whether units are offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.identity import derived_id
from schemas.headers import Header, event_headers, type_name, value_of
from schemas.messages import encode
from schemas.topics import ALERTS, UNIT_CONNECTIVITY
from streams.engine.publish import Outgoing

if TYPE_CHECKING:
    from domain.detection.readings import Run
    from schemas.messages import Alert, UnitConnectivity


def alert_record(alert: Alert, trace: bytes | None = None) -> Outgoing:
    """The same alert event has the same id."""
    kind = type_name(type(alert))
    event_id = derived_id("alert event", alert.alert_id, kind, alert.at_ms)
    return Outgoing(ALERTS, alert.unit_id.encode(), encode(alert), event_headers(event_id, kind, trace))


def connectivity_record(event: UnitConnectivity) -> Outgoing:
    """Goes to the partition where the unit's group is judged."""
    kind = type_name(type(event))
    event_id = derived_id("silence event", event.unit_id, event.group, kind, event.at_ms)
    return Outgoing(UNIT_CONNECTIVITY, event.group.encode(), encode(event), event_headers(event_id, kind))


def trace_of_reading(run: Run, at_ms: int) -> bytes | None:
    """The trace of the record that brought the reading of `at_ms`, if it carries one."""
    if at_ms not in run.times:
        return None
    index = run.times.index(at_ms)
    for record, batch in run.pairs:
        if index < len(batch.readings):
            return value_of(record.headers, Header.TRACEPARENT)
        index -= len(batch.readings)
    return None
