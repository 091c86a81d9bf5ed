"""Vendors' payloads become readings: the vendors' own examples, and made-up ones that break a rule each."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.webhooks.sensors import disruptive, the_things_stack
from api.webhooks.sensors.payload import PayloadError
from schemas import messages as m

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SECRET = "the signature secret of a data connector"
NOON = "2026-03-01T12:00:00.123456789Z"
NOON_MS = 1_772_366_400_123

json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


FULL_UPLINK = {
    "end_device_ids": {
        "device_id": "fridge-sensor-7",
        "application_ids": {"application_id": "kitchen"},
        "dev_eui": "0102030405060708",
        "dev_addr": "01020304",
    },
    "correlation_ids": ["as:up:EXAMPLE", "ns:uplink:EXAMPLE"],
    "received_at": "2026-03-01T12:00:01Z",
    "uplink_message": {
        "f_port": 2,
        "f_cnt": 41,
        "frm_payload": "AAECAw==",
        "decoded_payload": {"temperature": 3.5, "door": "closed"},
        "rx_metadata": [{"gateway_ids": {"gateway_id": "roof"}, "time": "2026-03-01T11:59:59Z", "rssi": -60}],
        "settings": {"frequency": "868300000", "time": "2026-03-01T11:59:59Z"},
        "consumed_airtime": "0.05s",
        "received_at": NOON,
    },
}


def example(path: str) -> Any:
    file = DATA / path
    if not file.exists():
        pytest.skip(f"the vendor's examples ({path}) are not beside this checkout")
    return json.loads(file.read_text(encoding="utf-8"))


def raw(payload: Any) -> bytes:
    return json.dumps(payload).encode()


def uplink(decoded: Any = None, normalized: Any = None, **fields: Any) -> dict[str, Any]:
    message: dict[str, Any] = {"f_port": 2, "received_at": NOON}
    if decoded is not None:
        message["decoded_payload"] = decoded
    if normalized is not None:
        message["normalized_payload"] = normalized
    return {"end_device_ids": {"device_id": "dev1"}, "received_at": NOON, "uplink_message": message, **fields}


def dt_event(kind: str, data: Any, target: str = "projects/p1/devices/d1") -> dict[str, Any]:
    event = {"eventId": "e1", "targetName": target, "eventType": kind, "data": {kind: data}, "timestamp": NOON}
    return {"event": event, "labels": {"name": "Freezer"}}


def test_the_uplink_of_the_things_stacks_documentation_is_a_reading() -> None:
    told = the_things_stack.translate(raw(example("ttn/uplink_message_example.json")))
    assert told == ("dev1", [m.Reading(1_581_520_545_790, 1.0)], None)


def test_an_uplink_with_all_that_the_network_adds_is_a_reading() -> None:
    told = the_things_stack.translate(raw(FULL_UPLINK))
    assert told == ("fridge-sensor-7", [m.Reading(NOON_MS, 3.5)], None)


@pytest.mark.parametrize(
    ("decoded", "normalized", "found"),
    [
        # a probe beside a housing sensor, whole numbers, tenths, and a formatter that failed
        ({"BatV": 3.1, "Hum_SHT": 61.0, "TempC_DS": -19.44, "TempC_SHT": 22.1}, None, [-19.44]),
        ({"battery": 80, "humidity": 40, "temperature": 5}, [{"air": {"temperature": 5}}, {"battVolt": 3}], [5.0]),
        ({"battery": 95, "temperature": 6.3}, None, [6.3]),
        (None, None, "the uplink has no decoded_payload"),
    ],
)
def test_what_codecs_of_devices_give_is_understood(decoded: Any, normalized: Any, found: Any) -> None:
    told = the_things_stack.translate(raw(uplink(decoded, normalized)))
    assert ([reading.temperature_c for reading in told.readings] or (told.nothing_because or "")[:33]) == found


def test_every_codecs_example_gives_the_temperature_that_matters_or_says_why_not() -> None:
    found = {}
    for codec in example("ttn/codec_examples.json")["examples"]:
        told = the_things_stack.translate(raw(uplink(codec.get("data"), codec.get("normalized"))))
        temperatures = [reading.temperature_c for reading in told.readings]
        found[codec["device"], codec["f_port"]] = temperatures or (told.nothing_because or "")[:33]
    assert found == {
        ("dragino/lht65", 2): [27.81],
        ("dragino/lht65", 42): "the uplink has no decoded_payload",
        ("milesight-iot/em300-th", 1): [20.0],
        ("milesight-iot/em320-th", 85): [30.8],
        ("milesight-iot/em500-pt100", 85): [28.1],
    }


@pytest.mark.parametrize(
    ("payload", "field", "celsius"),
    [
        # whole numbers are temperatures too
        (uplink({"temperature": -18}), None, -18.0),
        # a probe on a cable goes before the housing
        (uplink({"temperature": 21.5, "TempC_DS": -18.2}, [{"air": {"temperature": 21.5}}]), None, -18.2),
        # what is normalized goes before what a formatter calls temperature, which may be °F
        (uplink({"temperature": 70.7}, [{"battery": 3}, {"air": {"temperature": 21.5}}]), None, 21.5),
        # what the caller names goes before everything
        (uplink({"TempC_DS": -18.2, "inside": 4.5}), "inside", 4.5),
        # the kind of message that holds normalized measurements only
        (
            {
                "end_device_ids": {"device_id": "dev1"},
                "received_at": NOON,
                "uplink_normalized": {"normalized_payload": {"air": {"temperature": 3.5}}, "received_at": NOON},
            },
            None,
            3.5,
        ),
    ],
)
def test_the_temperature_of_an_uplink_is_found_in_a_fixed_order(
    payload: dict[str, Any], field: str | None, celsius: float
) -> None:
    assert the_things_stack.translate(raw(payload), field) == ("dev1", [m.Reading(NOON_MS, celsius)], None)


@pytest.mark.parametrize(
    ("payload", "field", "because"),
    [
        (uplink(), None, "has no payload formatter"),
        (uplink({"humidity": 40}), None, "with ?field=NAME"),
        (uplink({"temperature": 4}), "inside", "has no inside"),
        (uplink() | {"uplink_message": None, "join_accept": {}}, None, "is not an uplink"),
    ],
)
def test_an_uplink_without_a_temperature_says_why(payload: dict[str, Any], field: str | None, because: str) -> None:
    told = the_things_stack.translate(raw(payload), field)
    assert (told.device_id, list(told.readings)) == ("dev1", [])
    assert because in (told.nothing_because or "")


@pytest.mark.parametrize(
    ("payload", "pointer", "detail"),
    [
        ([], "/", "must be an object"),
        ({"uplink_message": {}}, "/", "end_device_ids"),
        (uplink() | {"end_device_ids": {"device_id": ""}}, "/end_device_ids/device_id", "at least 1 characters"),
        (
            uplink({"temperature": "cold"}),
            "/uplink_message/decoded_payload/temperature",
            '"cold" is not a number of °C',
        ),
        (uplink({"temperature": None}), "/uplink_message/decoded_payload/temperature", "null is not a number"),
        (uplink([1]), "/uplink_message/decoded_payload", "must be an object or null"),
        (uplink({}, [{"air": 4}]), "/uplink_message/normalized_payload/air", "must be an object"),
        (uplink({"temperature": 4}) | {"received_at": "today"}, "/received_at", "ISO 8601"),
        (
            {"end_device_ids": {"device_id": "d"}, "uplink_message": {"decoded_payload": {"temperature": 4}}},
            "/received_at",
            "is missing",
        ),
        (
            {
                "end_device_ids": {"device_id": "d"},
                "received_at": "2026-03-01T12:00:00",
                "uplink_message": {"decoded_payload": {"temperature": 4}},
            },
            "/received_at",
            "has no zone",
        ),
    ],
)
def test_an_uplink_that_cannot_be_used_is_refused_with_place_and_reason(
    payload: Any, pointer: str, detail: str
) -> None:
    with pytest.raises(PayloadError) as refused:
        the_things_stack.translate(raw(payload))
    assert refused.value.pointer == pointer
    assert detail in refused.value.detail


def test_every_example_of_disruptive_is_readings_or_says_why_not() -> None:
    found: dict[str, Any] = {}
    for name, event in example("disruptive/events.json").items():
        if "eventType" not in event:
            # Devices as the REST API shows them: no events, so no data connector sends them.
            with pytest.raises(PayloadError, match="what a data connector sends"):
                disruptive.translate(raw(event))
            continue
        told = disruptive.translate(raw({"event": event, "labels": {}}))
        assert told.device_id == "device_id"
        found[name] = [reading.temperature_c for reading in told.readings] or told.nothing_because
    assert found == {
        "temperature_event": [24.9],
        "humidity_event": [22.45],
        "network_status_event": "networkStatus events carry no temperature",
        "battery_status_event": "batteryStatus events carry no temperature",
        "connection_status_event": "connectionStatus events carry no temperature",
        "object_present_event": "objectPresent events carry no temperature",
        "labels_changed_event": "labelsChanged events carry no temperature",
    }


@pytest.mark.parametrize(
    ("kind", "data", "found"),
    [
        ("temperature", {"value": 3.9, "isBackfilled": False, "updateTime": NOON}, [3.9]),
        ("humidity", {"temperature": 18.75, "relativeHumidity": 40, "updateTime": NOON}, [18.75]),
        ("networkStatus", {"signalStrength": 50, "updateTime": NOON}, "networkStatus events carry no temperature"),
        ("batteryStatus", {"percentage": 90, "updateTime": NOON}, "batteryStatus events carry no temperature"),
        ("connectionStatus", {"connection": "OFFLINE"}, "connectionStatus events carry no temperature"),
        ("objectPresent", {"state": "PRESENT"}, "objectPresent events carry no temperature"),
        ("labelsChanged", {"added": {"name": "Milk"}}, "labelsChanged events carry no temperature"),
    ],
)
def test_each_kind_of_event_is_readings_or_says_why_not(kind: str, data: Any, found: Any) -> None:
    # As the vendor's own examples have it, with a slash in front and a blank behind.
    told = disruptive.translate(raw(dt_event(kind, data, "/projects/p1/devices/d1 ")))
    assert told.device_id == "d1"
    assert ([reading.temperature_c for reading in told.readings] or told.nothing_because) == found


def test_a_device_as_the_rest_api_shows_it_is_not_an_event() -> None:
    device = {"name": "projects/p1/devices/d1", "type": "temperature", "labels": {}, "reported": {}}
    with pytest.raises(PayloadError, match="what a data connector sends"):
        disruptive.translate(raw(device))


def test_the_samples_between_two_heartbeats_are_readings_of_their_own() -> None:
    samples = [{"value": 4.5, "sampleTime": "2026-03-01T11:55:00Z"}, {"value": 4.75, "sampleTime": NOON}]
    told = disruptive.translate(raw(dt_event("temperature", {"value": 4.75, "updateTime": NOON, "samples": samples})))
    assert told == ("d1", [m.Reading(NOON_MS - 300_123, 4.5), m.Reading(NOON_MS, 4.75)], None)


def test_an_older_event_without_samples_is_one_reading() -> None:
    told = disruptive.translate(raw(dt_event("temperature", {"value": -27, "updateTime": NOON})))
    assert told.readings == [m.Reading(NOON_MS, -27.0)]


@pytest.mark.parametrize(
    ("payload", "pointer", "detail"),
    [
        ({}, "/", "event"),
        ({"event": {"targetName": 1, "eventType": "touch"}}, "/event/targetName", "must be text"),
        (dt_event("temperature", {}, "devices/d1"), "/event/targetName", "projects/PROJECT/devices/DEVICE"),
        (dt_event("temperature", None), "/event/data/temperature", "is missing"),
        (dt_event("temperature", {"value": "4"}), "/event/data/temperature/value", "must be a number or null"),
        (dt_event("temperature", {"value": 4}), "/event/data/temperature", "its time"),
        (dt_event("temperature", {"updateTime": NOON}), "/event/data/temperature", "a temperature in °C"),
        (dt_event("humidity", {"samples": [{}]}), "/event/data/humidity", "a temperature in °C"),
        (dt_event("temperature", {"samples": [4]}), "/event/data/temperature/samples/0", "must be an object"),
    ],
)
def test_an_event_that_cannot_be_used_is_refused_with_place_and_reason(payload: Any, pointer: str, detail: str) -> None:
    with pytest.raises(PayloadError) as refused:
        disruptive.translate(raw(payload))
    assert refused.value.pointer == pointer
    assert detail in refused.value.detail


@given(json_values)
def test_any_json_is_judged(value: Any) -> None:
    for payload in (value, uplink(value, value), dt_event("temperature", value), {"event": value}):
        for translate in (the_things_stack.translate, disruptive.translate):
            try:
                translate(raw(payload))
            except (PayloadError, msgspec.DecodeError):
                continue


def signature(body: bytes, secret: str = SECRET, **claims: Any) -> str:
    told = {"exp": int(time.time()) + 3600, "checksum_sha256": hashlib.sha256(body).hexdigest(), **claims}
    return jwt.encode({name: value for name, value in told.items() if value is not None}, secret, algorithm="HS256")


BODY = b'{"event":{}}'


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (signature(BODY), None),
        # older connectors tell SHA-1 only
        (signature(BODY, checksum_sha256=None, checksum=hashlib.sha1(BODY).hexdigest()), None),
        (None, "is missing"),
        ("", "is missing"),
        ("no.token.atall", "not made with this secret"),
        (signature(BODY, "another secret of another data connector"), "not made with this secret"),
        (jwt.encode({"exp": int(time.time()) + 3600}, None, algorithm="none"), "not made with this secret"),
        (signature(BODY, exp=int(time.time()) - 3600), "has expired"),
        (signature(BODY, exp=None), "not made with this secret"),
        (signature(BODY + b" "), "another body"),
        # the stronger checksum decides
        (signature(BODY + b" ", checksum=hashlib.sha1(BODY).hexdigest()), "another body"),
        (signature(BODY, checksum_sha256=None), "no checksum"),
        (signature(BODY, checksum_sha256=7), "no checksum"),
    ],
    # The headers hold times: as ids they would differ from one worker of pytest to the next.
    ids=itertools.count(),
)
def test_a_data_connectors_signature_fits_secret_time_and_body(header: str | None, problem: str | None) -> None:
    found = disruptive.signature_problem(SECRET, header, BODY)
    assert (found is None) == (problem is None)
    assert (problem or "") in (found or "")
