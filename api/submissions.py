"""Reads what a gateway sends into one part a unit, and says what is wrong with it, reading by reading."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from api.problems import Problem
from api.submission_forms import FORMS, Form, LooseSubmission, Part, Submission
from domain.detection.reading_validation import PossibleReading
from schemas import messages as m
from schemas.messages import DeadLetterReason as Reason
from schemas.messages.reading_bounds import FUTURE_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

_decode = msgspec.json.Decoder(Submission).decode
_decode_loose = msgspec.json.Decoder(LooseSubmission).decode
_decode_reading = msgspec.json.Decoder(PossibleReading).decode


def read(body: bytes, now_ms: int) -> list[Part]:
    """The units of a request. Raises Problem when the body is not JSON, or of none of the forms.

    An unusable reading is refused alone. `now_ms` decides what lies in the future.
    """
    horizon_ms = now_ms + FUTURE_MS
    try:
        parts = _parts(_decode(body))
    except (msgspec.ValidationError, OverflowError):
        return _loose_parts(body, horizon_ms)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"The body is not JSON: {error}.", slug="not-json") from None
    if any(reading.at_ms > horizon_ms for part in parts for reading in part.readings):
        return _loose_parts(body, horizon_ms)
    return parts


def _form(told: Submission | LooseSubmission) -> Form:
    """Which of the three forms it is; raises Problem for none or several."""
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
        raise Problem(HTTPStatus.BAD_REQUEST, f"The body is not JSON: {error}.", slug="not-json") from None
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
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"The body has the wrong shape: {detail}.", slug="invalid")
