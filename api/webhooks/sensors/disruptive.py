"""Events of Disruptive Technologies' data connectors, and their signature.

Source: "Receiving Events" and "Events" in Disruptive Technologies' developer documentation. A body holds one event
and the device's labels. Temperature events may hold several samples between two heartbeats; humidity sensors report the
temperature too. All other events (touch, network status, battery …) carry none.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import datetime  # noqa: TC003 - msgspec reads the annotation

import jwt
import msgspec

from api.webhooks.sensors.payload import PayloadError, Translated, at_ms, wrong_shape
from schemas import messages as m

SIGNATURE_HEADER = "x-dt-signature"
LEEWAY_S = 60

HINT = "send what a data connector sends: event and labels"
_DEVICE = re.compile(r"\s*/?[^/\s]+/[^/\s]+/devices/([^/\s]+)\s*")


class _Sample(msgspec.Struct, frozen=True):
    value: float | None = None
    temperature: float | None = None
    sample_time: datetime | None = msgspec.field(name="sampleTime", default=None)
    update_time: datetime | None = msgspec.field(name="updateTime", default=None)


class _Measured(_Sample, frozen=True):
    samples: list[_Sample] = []


class _Data(msgspec.Struct, frozen=True):
    temperature: _Measured | None = None
    humidity: _Measured | None = None


class _Event(msgspec.Struct, frozen=True):
    target_name: str = msgspec.field(name="targetName")
    event_type: str = msgspec.field(name="eventType")
    data: msgspec.Raw = msgspec.Raw(b"{}")


class _Body(msgspec.Struct, frozen=True):
    event: _Event


_decode = msgspec.json.Decoder(_Body).decode
_decode_data = msgspec.json.Decoder(_Data).decode


def translate(body: bytes) -> Translated:
    """The readings in an event. Raises PayloadError, and msgspec.DecodeError for a body that is not JSON."""
    try:
        event = _decode(body).event
    except msgspec.ValidationError as error:
        raise wrong_shape(error, HINT) from None
    device = _DEVICE.fullmatch(event.target_name)
    if device is None:
        raise PayloadError(
            "/event/targetName", f"{event.target_name[:80]!r} does not match projects/PROJECT/devices/DEVICE"
        )
    device_id = device.group(1)
    if event.event_type not in _Data.__struct_fields__:
        return Translated(device_id, (), f"{event.event_type[:40]} events carry no temperature")
    try:
        data = _decode_data(event.data)
    except msgspec.ValidationError as error:
        raise wrong_shape(error, HINT, under="/event/data") from None
    pointer = f"/event/data/{event.event_type}"
    measured = data.temperature if event.event_type == "temperature" else data.humidity
    if measured is None:
        raise PayloadError(pointer, f"is missing; an event of the type {event.event_type} has it")
    return Translated(device_id, [_reading(pointer, sample) for sample in measured.samples or [measured]])


def _reading(pointer: str, sample: _Sample) -> m.Reading:
    celsius = sample.value if sample.temperature is None else sample.temperature
    at = sample.sample_time or sample.update_time
    if celsius is None or at is None:
        raise PayloadError(pointer, "a sample needs a temperature in °C and its time")
    return m.Reading(at_ms(pointer, at), celsius)


def signature_problem(secret: str, signature: str | None, body: bytes) -> str | None:
    """What is wrong with the header `X-Dt-Signature`, or None: a JWT (HS256) that holds the body's checksum.

    It expires after an hour. A copy within that hour passes; its readings are recognized as repeated.
    """
    if not signature:
        return "the header X-Dt-Signature is missing"
    try:
        claims = jwt.decode(signature, secret, algorithms=["HS256"], options={"require": ["exp"]}, leeway=LEEWAY_S)
    except jwt.ExpiredSignatureError:
        return "the signature has expired"
    except jwt.InvalidTokenError:
        return "the signature was not made with this secret"
    for claim, digest in (("checksum_sha256", hashlib.sha256), ("checksum", hashlib.sha1)):
        if isinstance(told := claims.get(claim), str):
            fits = hmac.compare_digest(told.lower().encode(), digest(body).hexdigest().encode())
            return None if fits else "the signature belongs to another body"
    return "the signature holds no checksum of the body"
