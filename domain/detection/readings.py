"""What a batch of records of `readings` says: a run of usable readings per unit, and what was refused, with its reason.

A record is refused as a whole when nothing in it can be told apart (no JSON, no key, another unit's key); a reading is
refused alone when the rest of its record is good. Decoding is done for many records at once; only where something is
off does it go record by record and reading by reading.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from operator import lt
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from domain.detection.reading_validation import (
    MAX_RECORD_BYTES,
    PossibleBatch,
    Record,
    Refusal,
    refuse,
    validated,
    wrong_key,
)
from schemas.messages import DeadLetterReason as Reason
from schemas.messages.reading_bounds import FUTURE_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

Pair = tuple[Record, PossibleBatch]
Found = tuple[Record, PossibleBatch | None]


class Run(Struct, frozen=True, gc=False):
    """The usable readings of one unit in one batch of records, in the order of the log, at least one.

    `ascending`: every reading is newer than the one before it. `times` are ms since 1970, `temperatures` °C.
    """

    unit_id: str
    pairs: list[Pair]
    times: list[int]
    temperatures: list[float]
    ascending: bool

    @property
    def last_offset(self) -> int:
        return self.pairs[-1][0].offset

    def after(self, applied_offset: int) -> Run | None:
        """What came in records after `applied_offset`; None when nothing did."""
        if self.pairs[0][0].offset > applied_offset:
            return self
        pairs = [pair for pair in self.pairs if pair[0].offset > applied_offset]
        return _run(self.unit_id, pairs) if pairs else None


class Sorted(Struct, frozen=True):
    """The runs by record key; the refusals in the order of the log."""

    runs: dict[bytes, Run]
    refusals: list[Refusal]


_decode = msgspec.json.Decoder(PossibleBatch).decode


def sort_records(records: Sequence[Record], now_ms: int) -> Sorted:
    """Decode the records of one partition and gather them by unit. Nothing that is in a record raises.

    `now_ms` judges what lies in the future: more than five minutes ahead is refused.
    """
    refusals: list[Refusal] = []
    members: defaultdict[bytes | None, list[Found]] = defaultdict(list)
    for pair in zip(records, _decode_all(records, refusals), strict=True):
        members[pair[0].key].append(pair)
    runs: dict[bytes, Run] = {}
    horizon_ms = now_ms + FUTURE_MS
    for key, found in members.items():
        run = _gather(key, found)
        if run is None or run.times[-1] > horizon_ms or not (run.ascending or max(run.times) <= horizon_ms):
            run = _sift(found, horizon_ms, refusals)
        if run is not None and key is not None:
            runs[key] = run
    refusals.sort(key=lambda refusal: refusal.record.offset)
    return Sorted(runs, refusals)


def _decode_all(records: Sequence[Record], refusals: list[Refusal]) -> Sequence[PossibleBatch | None]:
    values = [record.value for record in records]
    try:
        if max(map(len, values), default=0) <= MAX_RECORD_BYTES:  # type: ignore[arg-type]  # None raises TypeError
            return list(map(_decode, values))  # type: ignore[arg-type]
    except (ValueError, TypeError, RecursionError):
        pass
    return [validated(record, refusals) for record in records]


def _run(unit_id: str, pairs: list[Pair]) -> Run:
    readings = [reading for _, batch in pairs for reading in batch.readings]
    times = [reading.at_ms for reading in readings]
    ascending = len(times) == 1 or all(map(lt, times, islice(times, 1, None)))
    return Run(unit_id, pairs, times, [reading.temperature_c for reading in readings], ascending)


def _gather(key: bytes | None, found: list[Found]) -> Run | None:
    """The run of a key whose records are all of the unit that the key names; None where something is off."""
    if len(found) == 1 and (batch := found[0][1]) is not None and len(batch.readings) == 1:
        # With many units this is nearly every run.
        reading = batch.readings[0]
        if batch.unit_id.encode() != key:
            return None
        return Run(batch.unit_id, found, [reading.at_ms], [reading.temperature_c], ascending=True)  # type: ignore[arg-type]
    unit_ids = {None if batch is None else batch.unit_id for _, batch in found}
    unit_id = unit_ids.pop()
    if unit_ids or unit_id is None or unit_id.encode() != key:
        return None
    return _run(unit_id, found)  # type: ignore[arg-type]  # none is None


def _sift(found: list[Found], horizon_ms: int, refusals: list[Refusal]) -> Run | None:
    """The run of what is good among the records of one key; the rest is refused."""
    good: list[Pair] = []
    for record, batch in found:
        if batch is None:
            continue
        if (problem := wrong_key(record, batch.unit_id)) is not None:
            refusals.append(problem)
            continue
        present = [reading for reading in batch.readings if reading.at_ms <= horizon_ms]
        if future := [reading for reading in batch.readings if reading.at_ms > horizon_ms]:
            ahead_s = (future[0].at_ms - horizon_ms + FUTURE_MS) // 1000
            detail = (
                f"the time {future[0].at_ms} is {ahead_s} s ahead of now, {FUTURE_MS // 1000} s are"
                " allowed: set the device's clock"
            )
            refusals.append(refuse(record, Reason.FUTURE_TIME, detail, future, len(future), whole=not present))
        if present:
            good.append((record, batch if not future else PossibleBatch(batch.unit_id, present)))
    return _run(good[0][1].unit_id, good) if good else None
