"""`readings` → thresholds → `alerts`, and → buckets → `unit-aggregates`; what cannot be used → `readings-dlq`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from domain.detection.aggregate import take
from domain.detection.reading_validation import Refusal, refuse
from domain.detection.readings import Run, sort_records
from domain.detection.threshold import evaluate, settled, unit_removed
from schemas.messages import Alert, DeadLetterReason, UnitHeard
from schemas.topics import ALERTS, READINGS_DLQ, UNIT_SILENCES
from streams.detection.counts import DetectionCounts
from streams.detection.dead_readings import dead_letter
from streams.detection.readings_to_aggregates import Closings
from streams.detection.records import alert_record, silence_record, traceparent_of
from streams.detection.unit_states import encode_state

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from streams.detection.readings_to_aggregates import Aggregation
    from streams.detection.unit_states import Unit, UnitStates
    from streams.engine.consumer import Batch
    from streams.engine.publish import Outgoing


class _Work(msgspec.Struct):
    """What follows from a batch, besides the buckets."""

    refusals: list[Refusal]
    alerts: list[tuple[Alert, Run]] = msgspec.field(default_factory=list)
    heard: list[UnitHeard] = msgspec.field(default_factory=list)
    encoded: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    closings: Closings = msgspec.field(default_factory=Closings)


class Detection:
    """First what is to be published, then rows, then states: a crash in between makes the same again, with the same
    ids.
    """

    def __init__(
        self,
        publish: Callable[[Sequence[Outgoing]], Awaitable[None]],
        states: UnitStates,
        aggregation: Aggregation,
        topic_name: Callable[[str], str],
        now_ms: Callable[[], int],
    ) -> None:
        self.counts = DetectionCounts()
        self._publish = publish
        self._states = states
        self._aggregation = aggregation
        self._alerts_topic = topic_name(ALERTS.name)
        self._dead_topic = topic_name(READINGS_DLQ.name)
        self._silences_topic = topic_name(UNIT_SILENCES.name)
        self._now_ms = now_ms

    async def handle(self, batch: Batch) -> None:
        async with self._states.lock(batch.partition):
            try:
                await self._handle(batch)
            except BaseException:
                # Units in memory may be ahead of the table.
                self._states.forget(batch.partition)
                raise

    async def _handle(self, batch: Batch) -> None:
        now_ms, counts, closings = self._now_ms(), self.counts, Closings()
        found = sort_records(batch.records, now_ms)
        work = _Work(found.refusals, closings=closings)
        states, aggregation = self._states, self._aggregation
        known, version = states.known_in(batch), states.version
        load, policy, encoded = aggregation.loader(batch), aggregation.policy, work.encoded
        for key, run in found.runs.items():
            unit = known.get(key)
            if unit is None:
                unit = known[key] = states.stored(batch, key)
            watch = unit.watch if unit.version == version else states.configure(unit, run.unit_id)
            if watch is None:
                # Not kept: keys that nobody configured are without number.
                del known[key]
                self._unknown(key, unit, run, work)
                continue
            state = unit.state
            fresh = run if run.pairs[0][0].offset > state.fence else run.after(state.fence)
            if fresh is not None:
                step = take(unit.buckets, fresh.times, fresh.temperatures, watch, load, now_ms, policy)
                if step is not None:
                    aggregation.add(step, watch, fresh.last_offset, closings)
                if (group := state.silent_in) is not None:
                    at_ms = fresh.pairs[0][0].timestamp
                    work.heard.append(UnitHeard(unit_id=run.unit_id, group=group, at_ms=at_ms))
                    state = msgspec.structs.replace(state, silent_in=None)
            if (after := settled(watch, state, run, now_ms)) is not None:
                counts.evaluated += len(run.times)
            else:
                evaluation = evaluate(watch, state, run, now_ms)
                work.alerts += [(alert, run) for alert in evaluation.alerts]
                counts.add(evaluation.tally)
                after = evaluation.state
            unit.state = after
            # A state that stays as it was is written too: the changelog may not have what the local store has.
            # Encoded at once, while it is in the processor's cache.
            encoded[key] = encode_state(after)
        if closings.too_old:
            work.refusals += _too_old(closings, found.runs, aggregation.policy.keep_ms)
        if outgoing := self._outgoing(batch, work, now_ms):
            await self._publish(outgoing)
        await aggregation.finish(batch, closings)
        await states.table.write(batch, encoded)
        counts.records += len(batch.records)
        counts.buckets += len(closings.outgoing)
        counts.add_outputs([alert for alert, _ in work.alerts], work.refusals)

    def _unknown(self, key: bytes, unit: Unit, run: Run, work: _Work) -> None:
        detail = f"the unit {run.unit_id!r} is not configured: create it, then send the record again"
        work.refusals += [
            Refusal(record, DeadLetterReason.UNKNOWN_UNIT, detail, len(batch.readings)) for record, batch in run.pairs
        ]
        if unit.state.breaches:
            unit.state, ended = unit_removed(run.unit_id, unit.state)
            work.alerts += [(alert, run) for alert in ended]
            work.encoded[key] = encode_state(unit.state)

    def _outgoing(self, batch: Batch, work: _Work, now_ms: int) -> list[Outgoing]:
        outgoing = [dead_letter(batch, refusal, self._dead_topic, now_ms) for refusal in work.refusals]
        for alert, run in work.alerts:
            outgoing.append(alert_record(alert, self._alerts_topic, traceparent_of(run, alert.at_ms)))
        outgoing += [silence_record(event, self._silences_topic) for event in work.heard]
        return outgoing


def _too_old(closings: Closings, runs: Mapping[bytes, Run], keep_ms: int) -> list[Refusal]:
    """Readings of buckets that are kept no more, in the records that brought them."""
    refusals: list[Refusal] = []
    for key, times in closings.too_old.items():
        for record, batch in runs[key].pairs:
            shown = [reading for reading in batch.readings if reading.at_ms in times]
            if shown:
                hours = keep_ms // 3_600_000
                detail = f"the bucket of {shown[0].at_ms} is closed for good: readings may come {hours} h late"
                refusals.append(refuse(record, DeadLetterReason.TOO_OLD, detail, shown, len(shown), whole=False))
    return refusals
