"""What an MQTT message says: a plain number, a reading as JSON, or a batch of them. Pure.

    4.2
    {"temperature_c": 4.2, "at_ms": 1772366400000}
    {"temperature": 4.2, "timestamp": "2026-03-01T12:00:00Z", "battery": 87}
    {"readings": [{"temperature_f": 39.6, "timestamp": 1772366400}, ...]}      or the list alone

`temperature_c` and `temperature` are °C, `temperature_f` is °F. The time is `at_ms`, `timestamp` or `time`: ISO 8601
with an offset, or seconds or milliseconds since 1970; without one it is the time of arrival, in a batch each reading
has its own. Other fields are left alone.

What cannot be understood is handed on as it came. The detection worker, the one writer of `readings-dlq`, then puts it
among the dead letters with the reason; so there is one place to look at, whichever way a reading came.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct

from producers.replay import parse_celsius, parse_time
from schemas.identity import qualified
from schemas.messages import Reading, encode

# The MQTT broker lets each client publish below its own organization only.
TOPIC = "organization/+/site/+/unit/+/temperature"
# For an MQTT broker of one organization, which the bridge's settings name.
TOPIC_OF_ONE = "site/+/unit/+/temperature"
# What detection keeps of a dead letter; more would only fill the topic.
KEPT_BYTES = 65_536
# A record of so many is far below the topic's limit of 1 MiB.
READINGS_A_RECORD = 5_000
LARGEST_RECORD_BYTES = 900_000

Number = int | float


class Forward(Struct, frozen=True):
    """Records for the topic `readings`, under one key.

    `problem` says what was not understood; None when everything was. Without `values` there is nothing to send.
    """

    key: str
    values: tuple[bytes, ...]
    readings: int = 0
    problem: str | None = None


class _Told(Struct, frozen=True):
    """A reading as a device may write it."""

    temperature_c: Number | None = None
    temperature: Number | None = None
    temperature_f: Number | None = None
    at_ms: Number | str | None = None
    timestamp: Number | str | None = None
    time: Number | str | None = None


class _Envelope(Struct, frozen=True):
    unit_id: str | None = None
    readings: list[Raw] | None = None


class _Outgoing(Struct, frozen=True):
    """A `ReadingBatch` in which some items are as they came."""

    unit_id: str
    readings: list[Reading | Raw]


_number = msgspec.json.Decoder(Number).decode
_items = msgspec.json.Decoder(list[Raw]).decode
_envelope = msgspec.json.Decoder(_Envelope).decode
_told = msgspec.json.Decoder(_Told).decode


class _Sender(NamedTuple):
    organization_id: str
    unit_id: str

    @property
    def qualified(self) -> str:
        return qualified(self.organization_id, self.unit_id)


def sender_of(topic: str, organization_id: str | None) -> _Sender:
    """Whose unit a topic is of, as TOPIC says; with `organization_id`, as TOPIC_OF_ONE does."""
    levels = topic.split("/")
    return _Sender(levels[1], levels[5]) if organization_id is None else _Sender(organization_id, levels[3])


def understand(
    topic: str, payload: bytes, *, arrived_ms: int, organization_id: str | None = None, retained: bool = False
) -> Forward:
    """What to send for a message. Never raises: what is not understood is in `values` as it came.

    A retained number is not sent: it was measured at an unknown time before, and whoever was subscribed then has it.
    """
    sender = sender_of(topic, organization_id)
    try:
        return _understood(sender, payload, arrived_ms, retained=retained)
    except (ValueError, RecursionError, OverflowError) as error:
        return _as_it_came(sender.qualified, payload, str(error))


def _understood(sender: _Sender, payload: bytes, arrived_ms: int, *, retained: bool) -> Forward:
    unit = sender.qualified
    first = payload.lstrip()[:1]
    if first == b"[":
        return _batch(unit, unit, payload, _items(payload))
    if first == b"{":
        envelope = _envelope(payload)
        named = unit if envelope.unit_id is None else qualified(sender.organization_id, envelope.unit_id)
        if envelope.readings is not None:
            return _batch(unit, named, payload, envelope.readings)
        if retained and not _has_time(_told(payload)):
            return Forward(unit, (), problem="a retained message without a time")
        return _whole(unit, named, payload, [_reading(payload, arrived_ms)])
    number = _number(payload)
    if retained:
        return Forward(unit, (), problem="a retained number: nobody knows when it was measured")
    return _whole(unit, unit, payload, [Reading(arrived_ms, float(number))])


def _batch(unit: str, named: str, payload: bytes, items: list[Raw]) -> Forward:
    if not items:
        raise ValueError("the batch is empty")
    readings: list[Reading | Raw] = []
    problem = None
    for index, item in enumerate(items):
        try:
            readings.append(_reading(bytes(item), None))
        except (ValueError, RecursionError, OverflowError) as error:
            # Detection takes the good ones and puts just this one among the dead letters.
            readings.append(item)
            problem = problem or f"reading {index}: {error}"
    return _whole(unit, named, payload, readings, problem)


def _whole(unit: str, named: str, payload: bytes, readings: list[Reading | Raw], problem: str | None = None) -> Forward:
    parts = range(0, len(readings), READINGS_A_RECORD)
    values = tuple(encode(_Outgoing(named, readings[begin : begin + READINGS_A_RECORD])) for begin in parts)
    if any(len(value) > LARGEST_RECORD_BYTES for value in values):
        return _as_it_came(unit, payload, "items of the batch are too large to be readings")
    if problem is None and named != unit:
        problem = f"unit_id is {named!r}, the topic's unit is {unit!r}"
    return Forward(unit, values, sum(isinstance(reading, Reading) for reading in readings), problem)


def _as_it_came(unit: str, payload: bytes, problem: str) -> Forward:
    if len(payload) > KEPT_BYTES:
        problem = f"{problem} (the first {KEPT_BYTES} of {len(payload)} bytes are kept)"
    return Forward(unit, (payload[:KEPT_BYTES],), problem=problem)


def _has_time(told: _Told) -> bool:
    return not (told.at_ms is None and told.timestamp is None and told.time is None)


def _reading(item: bytes, arrived_ms: int | None) -> Reading:
    """Raises ValueError that names the field."""
    told = _told(item)
    temperatures = [value for value in (told.temperature_c, told.temperature, told.temperature_f) if value is not None]
    if len(temperatures) != 1:
        raise ValueError("send one of temperature_c, temperature (both °C) and temperature_f (°F)")
    celsius = parse_celsius(str(temperatures[0]), told.temperature_f is not None)
    times = [value for value in (told.at_ms, told.timestamp, told.time) if value is not None]
    if len(times) > 1:
        raise ValueError("send one of at_ms, timestamp and time")
    if times:
        return Reading(_time_ms(times[0]), celsius)
    if arrived_ms is None:
        raise ValueError("it has no at_ms, timestamp or time; in a batch each reading needs one")
    return Reading(arrived_ms, celsius)


def _time_ms(value: Number | str) -> int:
    try:
        return parse_time(str(value), None)
    except ValueError:
        raise ValueError(
            f"time {value!r} is neither ISO 8601 with an offset nor seconds or milliseconds since 1970"
        ) from None
