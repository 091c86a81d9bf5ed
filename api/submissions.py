"""Reads what a gateway sends into one part a unit, and says what is wrong with it, reading by reading."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from api.problems import Problem
from api.submission_forms import FORMS, Form, LooseSubmission, Part, PlainSubmission, Refused, TimedTemperature
from api.validation_texts import worded
from domain.temperatures import celsius
from schemas import messages as m
from schemas.messages import DeadLetterReason as Reason
from schemas.messages.reading_bounds import EARLIEST_MS, FUTURE_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

_decode = msgspec.json.Decoder(PlainSubmission).decode
_decode_loose = msgspec.json.Decoder(LooseSubmission).decode
_decode_reading = msgspec.json.Decoder(TimedTemperature).decode


def read(body: bytes, now_ms: int) -> list[Part]:
    """The units of a request. Raises Problem when the body is not JSON, or of none of the forms.

    An unusable reading is refused alone. `now_ms` decides what lies in the future.
    """
    horizon_ms = now_ms + FUTURE_MS
    try:
        parts = _parts(_decode(body), body, horizon_ms)
    except (msgspec.ValidationError, OverflowError):
        return _loose_parts(body, horizon_ms)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem(HTTPStatus.BAD_REQUEST, "The body is not JSON.", slug="not-json") from None
    if any(reading.at_ms > horizon_ms for part in parts for reading in part.readings):
        return _loose_parts(body, horizon_ms)
    return parts


def _form(told: PlainSubmission | LooseSubmission) -> Form:
    """Which of the three forms it is; raises Problem for none or several."""
    is_single = any(getattr(told, name, UNSET) is not UNSET for name in TimedTemperature.__struct_fields__)
    given = (told.unit_id is not UNSET, is_single, told.readings is not UNSET, told.batches is not UNSET)
    form = FORMS.get(given)
    if form is None:
        raise _other_shape(
            "send unit_id with at_ms and temperature_c, or unit_id with readings, or batches of unit_id and readings"
        )
    return form


def _parts(told: PlainSubmission, body: bytes, horizon_ms: int) -> list[Part]:
    match _form(told):
        case Form.ONE if told.at_ms is UNSET or told.temperature_c is UNSET:
            return _loose_parts(body, horizon_ms)
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
        raise _other_shape(worded(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem(HTTPStatus.BAD_REQUEST, "The body is not JSON.", slug="not-json") from None
    units: list[tuple[str, list[msgspec.Raw]]]
    match _form(told):
        case Form.ONE:
            units = [(told.unit_id, [told.reading()])]  # type: ignore[list-item]
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
        reading = _reading(raw)
        if isinstance(reading, Refused):
            part.refuse(reading.reason, reading.detail, index)
        elif reading.at_ms > horizon_ms:
            part.refuse(Reason.FUTURE_TIME, "more than 5 minutes ahead of now: set the device's clock", index)
        else:
            good.append(reading)
    part.readings = good


def _reading(raw: msgspec.Raw) -> m.Reading | Refused:
    """In milliseconds and °C, or why it is refused."""
    try:
        told = _decode_reading(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = Reason.IMPOSSIBLE_TEMPERATURE if "temperature_" in str(error) else Reason.WRONG_SHAPE
        return Refused(reason, worded(error))
    if (told.at_ms is UNSET) == (told.at is UNSET):
        return Refused(Reason.WRONG_SHAPE, "give one of at_ms (milliseconds since 1970) and at (ISO 8601 with a zone)")
    if (told.temperature_c is UNSET) == (told.temperature_f is UNSET):
        return Refused(Reason.WRONG_SHAPE, "give one of temperature_c and temperature_f")
    at_ms = round(told.at.timestamp() * 1000) if isinstance(told.at, datetime) else told.at_ms
    if at_ms < EARLIEST_MS:  # type: ignore[operator]
        return Refused(Reason.WRONG_SHAPE, "at is before the year 2000: set the device's clock")
    fahrenheit = told.temperature_f
    return m.Reading(at_ms, celsius(fahrenheit) if isinstance(fahrenheit, float) else told.temperature_c)  # type: ignore[arg-type]


def _other_shape(detail: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"The body has the wrong shape: {detail}.", slug="invalid")
