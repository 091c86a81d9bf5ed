"""`readings` → thresholds → `alerts`; what cannot be used → `readings-dlq`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from schemas.messages import Alert, DeadLetterReason, UnitConfig, encode
from schemas.topics import ALERTS, READINGS_DLQ
from streams.dead_readings import dead_letter
from streams.detection_counts import DetectionCounts
from streams.domain.identity import derived_id
from streams.domain.readings import Run, sort_records
from streams.domain.salvage import Refusal
from streams.domain.threshold import UnitState, Watch, evaluate, settled, unit_removed
from streams.engine.publish import Outgoing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from streams.consumer import Batch


class Units(Protocol):
    """The configured units. `version` changes whenever one of them does."""

    version: int

    def get(self, entry_id: str) -> UnitConfig | None: ...


class Table(Protocol):
    """A table of bytes in the partition of a batch; a key that was never written reads as None."""

    def read(self, batch: Batch, key: bytes) -> bytes | None: ...
    async def write(self, batch: Batch, items: Mapping[bytes, bytes]) -> None: ...


_encode_state = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(UnitState).decode


def fence_of(state: bytes) -> int:
    """The newest offset that a stored state contains."""
    return _decode_state(state).fence


class _Unit(msgspec.Struct, gc=False):
    """A unit as it is known in one partition: its state, and its configuration as of a version of all of them."""

    state: UnitState
    watch: Watch | None = None
    version: int = -1


class Detection:
    """Alerts first, then state: a crash in between makes the same alerts, with the same ids, once more.

    States are cached per partition, and forgotten when the batch's epoch tells that partitions may have been away.
    """

    def __init__(
        self,
        publish: Callable[[Sequence[Outgoing]], Awaitable[None]],
        table: Table,
        units: Units,
        topic_name: Callable[[str], str],
        now_ms: Callable[[], int],
    ) -> None:
        self.counts = DetectionCounts()
        self._publish = publish
        self._table = table
        self._units = units
        self._alerts_topic = topic_name(ALERTS.name)
        self._dead_topic = topic_name(READINGS_DLQ.name)
        self._now_ms = now_ms
        self._epoch = -1
        self._known: dict[int, dict[bytes, _Unit]] = {}

    async def handle(self, batch: Batch) -> None:
        now_ms, counts = self._now_ms(), self.counts
        found = sort_records(batch.records, now_ms)
        alerts: list[Alert] = []
        refusals = found.refusals
        changed: dict[bytes, tuple[_Unit, UnitState]] = {}
        known, version = self._known_in(batch), self._units.version
        for key, run in found.runs.items():
            unit = known.get(key) or self._stored(batch, key)
            if unit.version != version:
                self._configure(unit, run.unit_id, version)
            if (watch := unit.watch) is None:
                refusals += _unknown(run)
                if unit.state.breaches:
                    after, ended = unit_removed(run.unit_id, unit.state)
                    alerts += ended
                    changed[key] = unit, after
            elif (quiet := settled(watch, unit.state, run, now_ms)) is not None:
                counts.evaluated += len(run.times)
                changed[key] = unit, quiet
            else:
                # A state that stays as it was is written too: the changelog may not have what the local store has.
                evaluation = evaluate(watch, unit.state, run, now_ms)
                alerts += evaluation.alerts
                counts.add(evaluation.tally)
                changed[key] = unit, evaluation.state
        outgoing = [dead_letter(batch, refusal, self._dead_topic, now_ms) for refusal in refusals]
        outgoing += [self._outgoing(alert) for alert in alerts]
        if outgoing:
            await self._publish(outgoing)
        await self._table.write(batch, {key: _encode_state(state) for key, (_, state) in changed.items()})
        for key, (unit, state) in changed.items():
            unit.state = state
            known[key] = unit
        counts.records += len(batch.records)
        counts.add_outputs(alerts, refusals)

    def _known_in(self, batch: Batch) -> dict[bytes, _Unit]:
        if batch.epoch != self._epoch:
            self._epoch = batch.epoch
            self._known.clear()
        return self._known.setdefault(batch.partition, {})

    def _stored(self, batch: Batch, key: bytes) -> _Unit:
        stored = self._table.read(batch, key)
        return _Unit(UnitState() if stored is None else _decode_state(stored))

    def _configure(self, unit: _Unit, unit_id: str, version: int) -> None:
        config = self._units.get(unit_id)
        if config is None:
            unit.watch = None
        elif unit.watch is None or unit.watch.config is not config:
            unit.watch = Watch.over(config)
        unit.version = version

    def _outgoing(self, alert: Alert) -> Outgoing:
        tag = type(alert).__struct_config__.tag
        assert isinstance(tag, str)
        headers = (("id", derived_id("alert event", alert.alert_id, tag, alert.at_ms).encode()), ("type", tag.encode()))
        return Outgoing(self._alerts_topic, alert.unit_id.encode(), encode(alert), headers)


def _unknown(run: Run) -> list[Refusal]:
    detail = f"the unit {run.unit_id!r} is not configured: create it, then send the record again"
    return [Refusal(record, DeadLetterReason.UNKNOWN_UNIT, detail, len(batch.readings)) for record, batch in run.pairs]
