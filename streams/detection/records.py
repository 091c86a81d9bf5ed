"""The records that detection sends about units: alerts, and silences that are judged elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.identity import derived_id
from schemas.headers import Header
from schemas.messages import encode
from streams.engine.publish import Outgoing

if TYPE_CHECKING:
    from domain.detection.readings import Run
    from schemas.messages import Alert, UnitSilence


def alert_record(alert: Alert, topic: str, traceparent: bytes | None = None) -> Outgoing:
    """The record for the topic `topic` (its name at the broker); the same alert event has the same id."""
    tag = _tag(alert)
    event_id = derived_id("alert event", alert.alert_id, tag, alert.at_ms)
    trace = () if traceparent is None else ((Header.TRACEPARENT.value, traceparent),)
    headers = ((Header.ID.value, event_id.encode()), (Header.TYPE.value, tag.encode()), *trace)
    return Outgoing(topic, alert.unit_id.encode(), encode(alert), headers)


def silence_record(event: UnitSilence, topic: str) -> Outgoing:
    """Goes to the partition where the unit's group is judged."""
    tag = _tag(event)
    event_id = derived_id("silence event", event.unit_id, event.group, tag, event.at_ms)
    headers = ((Header.ID.value, event_id.encode()), (Header.TYPE.value, tag.encode()))
    return Outgoing(topic, event.group.encode(), encode(event), headers)


def traceparent_of(run: Run, at_ms: int) -> bytes | None:
    """The trace of the record that brought the reading of `at_ms`, if it carries one."""
    if at_ms not in run.times:
        return None
    index = run.times.index(at_ms)
    for record, batch in run.pairs:
        if index < len(batch.readings):
            return next((value for name, value in record.headers if name == Header.TRACEPARENT), None)
        index -= len(batch.readings)
    return None


def _tag(message: Alert | UnitSilence) -> str:
    tag = type(message).__struct_config__.tag
    assert isinstance(tag, str)
    return tag
