"""Uplinks of The Things Stack v3 (The Things Network), as its webhook integration sends them.

Source: "Data Formats" in The Things Industries' documentation. The temperature is looked up in this order:

1. the field of `decoded_payload` that the caller names;
2. a probe on a cable (`TempC_DS`, `TempC1`), which is inside the unit while the device hangs outside;
3. `air.temperature` of `normalized_payload`, which the device repository provides for many devices, always in °C;
4. the names that payload formatters usually use.

The time is the network server's: devices send none, and gateways' clocks may be wrong.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads the annotation
from typing import NamedTuple, TypeAlias

import msgspec

from api.webhooks.sensors.payload import PayloadError, Translated, at_ms, wrong_shape
from schemas import messages as m

PROBES = ("TempC_DS", "TempC1")
HINT = "send what The Things Stack's webhooks send, in the format JSON"
USUAL = ("temperature", "Temperature", "temp", "TempC_SHT", "temperature_1")

_Fields: TypeAlias = dict[str, msgspec.Raw]


class _None(NamedTuple):
    because: str


class _DeviceIds(msgspec.Struct, frozen=True):
    device_id: m.Id


class _Uplink(msgspec.Struct, frozen=True):
    decoded_payload: _Fields | None = None
    # A list in uplinks, one measurement in messages of the kind `uplink_normalized`.
    normalized_payload: list[_Fields] | _Fields | None = None
    received_at: datetime | None = None


class _Message(msgspec.Struct, frozen=True):
    end_device_ids: _DeviceIds
    received_at: datetime | None = None
    uplink_message: _Uplink | None = None
    uplink_normalized: _Uplink | None = None


_decode = msgspec.json.Decoder(_Message).decode
_decode_fields = msgspec.json.Decoder(_Fields).decode
_decode_number = msgspec.json.Decoder(float).decode


def translate(body: bytes, field: str | None = None) -> Translated:
    """The reading in an uplink. Raises PayloadError, and msgspec.DecodeError for a body that is not JSON."""
    try:
        message = _decode(body)
    except msgspec.ValidationError as error:
        raise wrong_shape(error, HINT) from None
    device_id = message.end_device_ids.device_id
    uplink = message.uplink_message or message.uplink_normalized
    if uplink is None:
        return Translated(device_id, (), "the message is not an uplink; only uplinks carry measurements")
    found = _temperature(uplink, field)
    if isinstance(found, _None):
        return Translated(device_id, (), found.because)
    at = uplink.received_at or message.received_at
    if at is None:
        raise PayloadError("/received_at", "is missing; the network server sets it in every uplink")
    return Translated(device_id, [m.Reading(at_ms("/received_at", at), found)])


def _temperature(uplink: _Uplink, field: str | None) -> float | _None:
    """Degrees Celsius, or why there are none. Raises PayloadError for anything but a number."""
    decoded = uplink.decoded_payload
    if field is not None:
        if decoded is None or field not in decoded:
            return _None(f"decoded_payload has no {field}, which this webhook's address names")
        return _number(f"/uplink_message/decoded_payload/{field}", decoded[field])
    for names, raw in (PROBES, decoded or {}), (("air.temperature",), _air(uplink)), (USUAL, decoded or {}):
        for name in names:
            if name in raw:
                return _number(f"/uplink_message/decoded_payload/{name}", raw[name])
    if decoded is None:
        return _None(
            "the uplink has no decoded_payload: its device has no payload formatter, or the formatter found an error in"
            " the bytes"
        )
    return _None(
        f"decoded_payload has none of {', '.join((*PROBES, *USUAL))}; name its field of °C in the webhook's address"
        " with ?field=NAME"
    )


def _air(uplink: _Uplink) -> _Fields:
    normalized = uplink.normalized_payload or []
    for measurement in normalized if isinstance(normalized, list) else [normalized]:
        if "air" in measurement:
            try:
                air = _decode_fields(measurement["air"])
            except msgspec.ValidationError as error:
                raise wrong_shape(error, HINT, under="/uplink_message/normalized_payload/air") from None
            return {f"air.{name}": raw for name, raw in air.items()}
    return {}


def _number(pointer: str, raw: msgspec.Raw) -> float:
    try:
        return _decode_number(raw)
    except msgspec.ValidationError:
        shown = bytes(raw)[:40].decode(errors="replace")
        raise PayloadError(
            pointer,
            f"{shown} is not a number of °C; change the payload formatter, or name another field with ?field=NAME",
        ) from None
