"""What follows from a batch of readings, gathered while its units are looked at, and then published."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from domain.detection import sensor_clock
from domain.detection.reading_validation import Refusal
from domain.detection.threshold import unit_removed
from schemas.messages import Alert, DeadLetterReason, UnitOnline
from streams.detection.dead_readings import dead_letter
from streams.detection.records import alert_record, connectivity_record, trace_of_reading
from streams.detection.unit_buckets import Closings
from streams.detection.unit_states import encode_state

if TYPE_CHECKING:
    from domain.detection.readings import Run
    from domain.detection.unit_state import UnitState
    from streams.detection.unit_states import Unit
    from streams.engine.consumer import Batch
    from streams.engine.publish import Outgoing


class Work(msgspec.Struct):
    """What follows from a batch."""

    refusals: list[Refusal]
    alerts: list[tuple[Alert, Run]] = msgspec.field(default_factory=list)
    online: list[UnitOnline] = msgspec.field(default_factory=list)
    encoded: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    closings: Closings = msgspec.field(default_factory=Closings)


def back_online(state: UnitState, run: Run, work: Work, now_ms: int) -> UnitState:
    """The state after a new and live reading, which ends what was open because none came."""
    if state.offline_group is None and state.stale is None:
        return state
    work.alerts += [(alert, run) for alert in sensor_clock.ended(run.unit_id, state.stale, now_ms)]
    if state.offline_group is not None:
        at_ms = run.pairs[0][0].timestamp
        work.online.append(UnitOnline(unit_id=run.unit_id, group=state.offline_group, at_ms=at_ms))
    return replace(state, offline_group=None, stale=None)


def refuse_unknown(key: bytes, unit: Unit, run: Run, work: Work) -> None:
    detail = f"the unit {run.unit_id!r} is not configured: create it, then send the record again"
    work.refusals += [
        Refusal(record, DeadLetterReason.UNKNOWN_UNIT, detail, len(batch.readings)) for record, batch in run.pairs
    ]
    if unit.state.breaches or unit.state.stale:
        unit.state, ended = unit_removed(run.unit_id, unit.state)
        work.alerts += [(alert, run) for alert in ended]
        work.encoded[key] = encode_state(unit.state)


def outgoing_of(batch: Batch, work: Work, now_ms: int) -> list[Outgoing]:
    outgoing = [dead_letter(batch, refusal, now_ms) for refusal in work.refusals]
    outgoing += [alert_record(alert, trace_of_reading(run, alert.at_ms)) for alert, run in work.alerts]
    outgoing += map(connectivity_record, work.online)
    return outgoing
