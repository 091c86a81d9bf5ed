"""What a gateway may send: one reading, many of one unit, or several units; and what is wrong with it, item by item."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from api.problems import Problem
from schemas import messages as m
from schemas.messages import DeadLetterReason as Reason
from streams.domain.readings import FUTURE_MS
from streams.domain.salvage import COLDEST_C, EARLIEST_MS, LATEST_MS, WARMEST_C, PossibleReading

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_UNITS = 1_000
MAX_READINGS = 50_000
SHOWN_REFUSALS = 100

Readings = Annotated[list[PossibleReading], Meta(min_length=1, max_length=MAX_READINGS)]


class UnitReadings(Struct, frozen=True, forbid_unknown_fields=True):
    """Readings of one unit, in any order."""

    unit_id: m.Id
    readings: Readings


class Submission(Struct, frozen=True, forbid_unknown_fields=True):
    """Exactly one of three forms: a reading with its unit, a unit with its readings, or several units in `batches`."""

    unit_id: m.Id | UnsetType = UNSET
    at_ms: (
        Annotated[int, Meta(ge=EARLIEST_MS, le=LATEST_MS, description="Milliseconds since 1970-01-01 UTC")] | UnsetType
    ) = UNSET
    temperature_c: Annotated[float, Meta(ge=COLDEST_C, le=WARMEST_C, description="Degrees Celsius")] | UnsetType = UNSET
    readings: Readings | UnsetType = UNSET
    batches: Annotated[list[UnitReadings], Meta(min_length=1, max_length=MAX_UNITS)] | UnsetType = UNSET


class LooseUnit(Struct, frozen=True, forbid_unknown_fields=True):
    unit_id: m.Id
    readings: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_READINGS)]


class LooseSubmission(Struct, frozen=True, forbid_unknown_fields=True):
    """The same with readings that were not looked at yet."""

    unit_id: m.Id | UnsetType = UNSET
    at_ms: msgspec.Raw | UnsetType = UNSET
    temperature_c: msgspec.Raw | UnsetType = UNSET
    readings: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_READINGS)] | UnsetType = UNSET
    batches: Annotated[list[LooseUnit], Meta(min_length=1, max_length=MAX_UNITS)] | UnsetType = UNSET


class Refused(Struct, frozen=True, omit_defaults=True):
    """A reading that was not taken; `index` counts within its unit, null when it is the whole unit."""

    reason: str
    detail: str
    index: int | None = None


class Item(Struct, frozen=True):
    """What became of one unit's readings; at most 100 refusals are told one by one."""

    unit_id: str
    accepted: int
    refused: int
    refusals: list[Refused]


class Receipt(Struct, frozen=True):
    """The answer: the broker has every reading that is counted as accepted."""

    accepted: int
    refused: int
    items: list[Item]


class Part(Struct):
    """One unit's readings on the way: what can be sent, and what is already refused."""

    unit_id: str
    readings: Sequence[m.Reading]
    refused: int = 0
    refusals: list[Refused] = msgspec.field(default_factory=list)

    def refuse(self, reason: str, detail: str, index: int | None = None, count: int = 1) -> None:
        self.refused += count
        if len(self.refusals) < SHOWN_REFUSALS:
            self.refusals.append(Refused(reason, detail, index))

    def refuse_all(self, reason: str, detail: str) -> None:
        """What was still good is not taken either."""
        if self.readings:
            self.refuse(reason, detail, count=len(self.readings))
            self.readings = ()

    def item(self) -> Item:
        return Item(self.unit_id, len(self.readings), self.refused, self.refusals)


_decode = msgspec.json.Decoder(Submission).decode
_decode_loose = msgspec.json.Decoder(LooseSubmission).decode
_decode_reading = msgspec.json.Decoder(PossibleReading).decode


def read(body: bytes, now_ms: int) -> list[Part]:
    """The units of a request. Raises Problem when nothing can be told apart: no JSON, no unit, another shape.

    A reading that is wrong by itself is refused alone. `now_ms` judges what lies in the future.
    """
    horizon_ms = now_ms + FUTURE_MS
    try:
        parts = _parts(_decode(body))
    except (msgspec.ValidationError, OverflowError):
        return _loose_parts(body, horizon_ms)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"The body is no JSON: {error}.", slug="not-json") from None
    if any(reading.at_ms > horizon_ms for part in parts for reading in part.readings):
        return _loose_parts(body, horizon_ms)
    return parts


def _parts(told: Submission) -> list[Part]:
    if told.batches is not UNSET and told.unit_id is told.readings is told.at_ms is told.temperature_c is UNSET:
        return [Part(unit.unit_id, unit.readings) for unit in told.batches]
    if told.unit_id is not UNSET and told.batches is UNSET:
        if told.readings is not UNSET and told.at_ms is told.temperature_c is UNSET:
            return [Part(told.unit_id, told.readings)]
        if told.at_ms is not UNSET and told.temperature_c is not UNSET and told.readings is UNSET:
            return [Part(told.unit_id, [m.Reading(told.at_ms, told.temperature_c)])]
    raise _other_shape(
        "send unit_id with at_ms and temperature_c, or unit_id with readings, or batches of unit_id and readings"
    )


def _loose_parts(body: bytes, horizon_ms: int) -> list[Part]:
    try:
        told = _decode_loose(body)
    except msgspec.ValidationError as error:
        raise _other_shape(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"The body is no JSON: {error}.", slug="not-json") from None
    if told.batches is not UNSET and told.unit_id is told.readings is told.at_ms is told.temperature_c is UNSET:
        units = [(unit.unit_id, unit.readings) for unit in told.batches]
    elif told.unit_id is not UNSET and told.readings is not UNSET and told.batches is told.at_ms is UNSET:
        units = [(told.unit_id, told.readings)]
    elif told.unit_id is not UNSET and told.at_ms is not UNSET and told.temperature_c is not UNSET:
        raw = b'{"at_ms":' + bytes(told.at_ms) + b',"temperature_c":' + bytes(told.temperature_c) + b"}"
        units = [(told.unit_id, [msgspec.Raw(raw)])]
    else:
        raise _other_shape("this is none of the three forms")
    parts = []
    for unit_id, raws in units:
        part = Part(unit_id, ())
        _take(part, raws, horizon_ms)
        parts.append(part)
    return parts


def _take(part: Part, raws: Sequence[msgspec.Raw], horizon_ms: int) -> None:
    good = []
    for index, raw in enumerate(raws):
        try:
            reading = _decode_reading(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            reason = Reason.IMPOSSIBLE_TEMPERATURE if "temperature_c" in str(error) else Reason.WRONG_SHAPE
            part.refuse(reason, str(error), index)
            continue
        if reading.at_ms > horizon_ms:
            part.refuse(Reason.FUTURE_TIME, "more than 5 minutes ahead of now: set the device's clock", index)
        else:
            good.append(reading)
    part.readings = good


def _other_shape(detail: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"The body has another shape: {detail}.", slug="invalid")


EXAMPLES = {
    "one reading": {"value": {"unit_id": "freezer-1", "at_ms": 1_772_366_400_000, "temperature_c": -18.2}},
    "many of one unit": {
        "value": {
            "unit_id": "freezer-1",
            "readings": [
                {"at_ms": 1_772_366_400_000, "temperature_c": -18.2},
                {"at_ms": 1_772_366_460_000, "temperature_c": -18.1},
            ],
        }
    },
    "several units": {
        "value": {
            "batches": [
                {"unit_id": "freezer-1", "readings": [{"at_ms": 1_772_366_400_000, "temperature_c": -18.2}]},
                {"unit_id": "fridge-1", "readings": [{"at_ms": 1_772_366_400_000, "temperature_c": 4.1}]},
            ]
        }
    },
}
