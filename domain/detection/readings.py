"""What a batch of records of `readings` says: a run of usable readings per unit, and what was refused, with its reason.

A record is refused as a whole when nothing in it can be told apart (no JSON, no key, another unit's key); a reading is
refused alone when the rest of its record is good. Decoding is done for many records at once; only where something is
off does it go record by record and reading by reading.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from operator import attrgetter, lt
from typing import TYPE_CHECKING, NamedTuple

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
    from collections.abc import Iterator, Sequence

Pair = tuple[Record, PossibleBatch]
Found = tuple[Record, PossibleBatch | None]


class Run(Struct, frozen=True, gc=False):
    """The usable readings of one unit in one batch of records, at least one: records in the order of the log, the
    readings of each by time.

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


class Bounds(NamedTuple):
    """From when to when a reading's time is plausible."""

    oldest_ms: int
    newest_ms: int

    def hold(self, run: Run) -> bool:
        times = run.times
        if run.ascending:
            return self.oldest_ms <= times[0] and times[-1] <= self.newest_ms
        return self.oldest_ms <= min(times) and max(times) <= self.newest_ms


class Sorted(Struct, frozen=True):
    """The runs by record key; the refusals in the order of the log."""

    runs: dict[bytes, Run]
    refusals: list[Refusal]


_decode = msgspec.json.Decoder(PossibleBatch).decode
_at_ms = attrgetter("at_ms")


def sort_records(records: Sequence[Record], now_ms: int, max_age_ms: int) -> Sorted:
    """Decode the records of one partition and gather them by unit. Nothing that is in a record raises.

    Times more than five minutes ahead of `now_ms`, or more than `max_age_ms` behind it, are refused.
    """
    refusals: list[Refusal] = []
    members: defaultdict[bytes | None, list[Found]] = defaultdict(list)
    for pair in zip(records, _decode_all(records, refusals), strict=True):
        members[pair[0].key].append(pair)
    runs: dict[bytes, Run] = {}
    bounds = Bounds(now_ms - max_age_ms, now_ms + FUTURE_MS)
    for key, found in members.items():
        run = _gather(key, found)
        if run is None or not bounds.hold(run):
            run = _sift(found, bounds, refusals)
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
    if not ascending and len(pairs) < len(times):
        # Some devices send their newest reading first.
        readings = [reading for _, batch in pairs for reading in sorted(batch.readings, key=_at_ms)]
        times = [reading.at_ms for reading in readings]
        ascending = all(map(lt, times, islice(times, 1, None)))
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


def _sift(found: list[Found], bounds: Bounds, refusals: list[Refusal]) -> Run | None:
    """The run of what is good among the records of one key; the rest is refused."""
    good: list[Pair] = []
    for record, batch in found:
        if batch is None:
            continue
        if (problem := wrong_key(record, batch.unit_id)) is not None:
            refusals.append(problem)
            continue
        present = [reading for reading in batch.readings if bounds.oldest_ms <= reading.at_ms <= bounds.newest_ms]
        whole = len(present) == len(batch.readings)
        if not whole:
            refusals += _out_of_bounds(record, batch, bounds, whole=not present)
        if present:
            good.append((record, batch if whole else PossibleBatch(batch.unit_id, present)))
    return _run(good[0][1].unit_id, good) if good else None


def _out_of_bounds(record: Record, batch: PossibleBatch, bounds: Bounds, *, whole: bool) -> Iterator[Refusal]:
    if future := [reading for reading in batch.readings if reading.at_ms > bounds.newest_ms]:
        ahead_s = (future[0].at_ms - bounds.newest_ms + FUTURE_MS) // 1000
        detail = (
            f"the time {future[0].at_ms} is {ahead_s} s ahead of now, {FUTURE_MS // 1000} s are allowed:"
            " set the device's clock"
        )
        yield refuse(record, Reason.FUTURE_TIME, detail, future, len(future), whole=whole)
    if old := [reading for reading in batch.readings if reading.at_ms < bounds.oldest_ms]:
        detail = f"the time {old[0].at_ms} lies before {bounds.oldest_ms}, the oldest that is taken"
        yield refuse(record, Reason.TOO_OLD, detail, old, len(old), whole=whole)
