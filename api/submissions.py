"""What a gateway may send: one reading, many of one unit, or several units; and what is wrong with it, item by item."""

from __future__ import annotations

from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from api.problems import Problem
from domain.detection.reading_validation import COLDEST_C, EARLIEST_MS, LATEST_MS, WARMEST_C, PossibleReading
from domain.detection.readings import FUTURE_MS
from schemas import messages as m
from schemas.messages import DeadLetterReason as Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_UNITS = 1_000
MAX_READINGS = 50_000
SHOWN_REFUSALS = 100

Readings = Annotated[list[PossibleReading], Meta(min_length=1, max_length=MAX_READINGS)]


Time = Annotated[int, Meta(ge=EARLIEST_MS, le=LATEST_MS, description="Milliseconds since 1970-01-01 UTC")]
Temperature = Annotated[float, Meta(ge=COLDEST_C, le=WARMEST_C, description="Degrees Celsius")]


class UnitReadings(Struct, frozen=True, forbid_unknown_fields=True):
    """Readings of one unit, in any order."""

    unit_id: m.Id
    readings: Readings


Batches = Annotated[list[UnitReadings], Meta(min_length=1, max_length=MAX_UNITS)]


class OneReading(Struct, frozen=True, forbid_unknown_fields=True):
    """A reading with its unit."""

    unit_id: m.Id
    at_ms: Time
    temperature_c: Temperature


class SeveralUnits(Struct, frozen=True, forbid_unknown_fields=True):
    """Readings of several units; a unit may appear more than once."""

    batches: Batches


class Submission(Struct, frozen=True, forbid_unknown_fields=True):
    """All three forms in one, for a single pass of the decoder; `FORMS` says which fields make a form."""

    unit_id: m.Id | UnsetType = UNSET
    at_ms: Time | UnsetType = UNSET
    temperature_c: Temperature | UnsetType = UNSET
    readings: Readings | UnsetType = UNSET
    batches: Batches | UnsetType = UNSET


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


class Form(Enum):
    ONE = auto()
    MANY = auto()
    SEVERAL = auto()


# Which of the fields unit_id, at_ms, temperature_c, readings, batches are there.
FORMS: dict[tuple[bool, ...], Form] = {
    (True, True, True, False, False): Form.ONE,
    (True, False, False, True, False): Form.MANY,
    (False, False, False, False, True): Form.SEVERAL,
}


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


def _form(told: Submission | LooseSubmission) -> Form:
    """Which of the three forms it is; raises Problem when it is none, or more than one."""
    form = FORMS.get(tuple(getattr(told, field) is not UNSET for field in told.__struct_fields__))
    if form is None:
        raise _other_shape(
            "send unit_id with at_ms and temperature_c, or unit_id with readings, or batches of unit_id and readings"
        )
    return form


def _parts(told: Submission) -> list[Part]:
    match _form(told):
        case Form.ONE:
            return [Part(told.unit_id, [m.Reading(told.at_ms, told.temperature_c)])]  # type: ignore[arg-type]
        case Form.MANY:
            return [Part(told.unit_id, told.readings)]  # type: ignore[arg-type]
        case Form.SEVERAL:
            return [Part(unit.unit_id, unit.readings) for unit in told.batches]  # type: ignore[union-attr]


def _loose_parts(body: bytes, horizon_ms: int) -> list[Part]:
    try:
        told = _decode_loose(body)
    except msgspec.ValidationError as error:
        raise _other_shape(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"The body is no JSON: {error}.", slug="not-json") from None
    units: list[tuple[str, list[msgspec.Raw]]]
    match _form(told):
        case Form.ONE:
            raw = b'{"at_ms":%b,"temperature_c":%b}' % (bytes(told.at_ms), bytes(told.temperature_c))  # type: ignore[arg-type]
            units = [(told.unit_id, [msgspec.Raw(raw)])]  # type: ignore[list-item]
        case Form.MANY:
            units = [(told.unit_id, told.readings)]  # type: ignore[list-item]
        case Form.SEVERAL:
            units = [(unit.unit_id, unit.readings) for unit in told.batches]  # type: ignore[union-attr]
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
