"""Which readings of a record can be used, and the reason why the others are refused."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Annotated, Protocol

import msgspec
from msgspec import Meta, Struct

from schemas import messages as m
from schemas.messages import DeadLetterReason as Reason
from schemas.messages.reading_bounds import COLDEST_C, EARLIEST_MS, LATEST_MS, WARMEST_C

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_RECORD_BYTES = 1_048_576
KEPT_READINGS = 1_000


class Record(Protocol):
    """What is needed of a consumed record."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class PossibleReading(m.Reading, frozen=True, gc=False):
    """A reading whose time and temperature can be; the decoder checks it."""

    at_ms: Annotated[int, Meta(ge=EARLIEST_MS, le=LATEST_MS)]
    temperature_c: Annotated[float, Meta(ge=COLDEST_C, le=WARMEST_C)]


class PossibleBatch(Struct, frozen=True, gc=False):
    """A `ReadingBatch` of at least one reading, all of them possible."""

    unit_id: m.Id
    readings: Annotated[list[PossibleReading], Meta(min_length=1)]


class Refusal(Struct, frozen=True):
    """`count` readings of a record cannot be used, or the record as a whole.

    `readings` shows at most 1,000 of those that could be read as one. `whole`: nothing of the record was used.
    """

    record: Record
    reason: Reason
    detail: str
    count: int = 1
    readings: tuple[m.Reading, ...] = ()
    whole: bool = True


class _UnusableError(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


_decode = msgspec.json.Decoder(PossibleBatch).decode


def validated(record: Record, refusals: list[Refusal]) -> PossibleBatch | None:
    """The usable readings of a record that may be bad, None when it has none; the rest goes to `refusals`."""
    try:
        value = _present(record.value)
        try:
            return _decode(value)
        except (ValueError, RecursionError) as error:
            unit_id, items = _open(value, str(error))
    except _UnusableError as error:
        refusals.append(Refusal(record, error.reason, str(error)))
        return None
    if (problem := wrong_key(record, unit_id)) is not None:
        refusals.append(problem)
        return None
    return _pick(record, unit_id, items, refusals)


def wrong_key(record: Record, unit_id: str) -> Refusal | None:
    """The refusal of a record whose key is not its unit's id: its partition, and so its order, would be another's."""
    if record.key is None:
        return Refusal(record, Reason.MISSING_KEY, f"the record has no key; it must be the unit id {unit_id!r}")
    key = record.key.decode(errors="replace")
    if key != unit_id:
        return Refusal(record, Reason.KEY_MISMATCH, f"the key {key!r} must be the unit id {unit_id!r}")
    return None


def refuse(
    record: Record, reason: Reason, detail: str, readings: Sequence[m.Reading], count: int, *, whole: bool
) -> Refusal:
    """The refusal of `count` readings, of which `readings` can be shown."""
    kept = tuple(m.Reading(reading.at_ms, reading.temperature_c) for reading in readings[:KEPT_READINGS])
    return Refusal(record, reason, detail, count, kept, whole)


def _present(value: bytes | None) -> bytes:
    if value is None:
        raise _UnusableError(Reason.NULL_VALUE, "the record has no value, and there is nothing here to delete")
    if len(value) > MAX_RECORD_BYTES:
        detail = f"the record has {len(value)} bytes, {MAX_RECORD_BYTES} are allowed: send smaller batches"
        raise _UnusableError(Reason.TOO_LARGE, detail)
    return value


def _open(value: bytes, problem: str) -> tuple[str, Iterable[object]]:
    """The unit id and the items of a document that the strict decoder refused because of `problem`."""
    try:
        # Python's parser knows NaN and Infinity, so that one of them costs one reading and not the batch.
        document: object = json.loads(value.decode())
    except (ValueError, RecursionError) as error:
        raise _UnusableError(Reason.NOT_JSON, problem) from error
    unit_id = document.get("unit_id") if isinstance(document, dict) else None
    items = document.get("readings") if isinstance(document, dict) else None
    if not isinstance(unit_id, str) or not 1 <= len(unit_id) <= 200 or not isinstance(items, list):
        raise _UnusableError(Reason.WRONG_SHAPE, problem)
    if not items:
        raise _UnusableError(Reason.EMPTY_BATCH, "the batch has no readings")
    return unit_id, items


def _pick(record: Record, unit_id: str, items: Iterable[object], refusals: list[Refusal]) -> PossibleBatch | None:
    good: list[PossibleReading] = []
    bad: dict[Reason, list[tuple[str, m.Reading | None]]] = {}
    for item in items:
        try:
            reading = msgspec.convert(item, m.Reading)
        except (msgspec.ValidationError, UnicodeEncodeError) as error:
            # The latter for a lone surrogate, which JSON can spell and no encoding can write.
            reason = Reason.NOT_FINITE if _names_no_number(item) else Reason.WRONG_SHAPE
            bad.setdefault(reason, []).append((str(error), None))
            continue
        if (fault := _fault(reading)) is None:
            good.append(PossibleReading(reading.at_ms, reading.temperature_c))
        else:
            reason, detail = fault
            shown = reading if abs(reading.at_ms) <= LATEST_MS and math.isfinite(reading.temperature_c) else None
            bad.setdefault(reason, []).append((detail, shown))
    for reason, faults in bad.items():
        shown_all = [reading for _, reading in faults if reading is not None]
        refusals.append(refuse(record, reason, faults[0][0], shown_all, len(faults), whole=not good))
    return PossibleBatch(unit_id, good) if good else None


def _names_no_number(item: object) -> bool:
    """Whether the temperature is text that names infinity or NaN, as some gateways write it."""
    text = item.get("temperature_c") if isinstance(item, dict) else None
    return isinstance(text, str) and text.strip().lstrip("+-").lower() in {"nan", "inf", "infinity"}


def _fault(reading: m.Reading) -> tuple[Reason, str] | None:
    at_ms, temperature_c = reading.at_ms, reading.temperature_c
    if not math.isfinite(temperature_c):
        return Reason.NOT_FINITE, f"the temperature {temperature_c} cannot be compared with a limit"
    if not COLDEST_C <= temperature_c <= WARMEST_C:
        bounds = f"{COLDEST_C:g} to {WARMEST_C:g} °C"
        return Reason.IMPOSSIBLE_TEMPERATURE, f"{temperature_c:g} °C is not within {bounds}: check the probe"
    if at_ms < EARLIEST_MS:
        return Reason.IMPOSSIBLE_TIME, "the time lies before 2000-01-01: it must be in milliseconds since 1970"
    if at_ms > LATEST_MS:
        return Reason.FUTURE_TIME, "the time lies after the year 9999: it must be in milliseconds since 1970"
    return None
