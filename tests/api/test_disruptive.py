"""Disruptive's events become readings, and their signature is checked: the vendor's examples, and made-up ones."""

from __future__ import annotations

import hashlib
import itertools
import time
from typing import Any

import jwt
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.webhooks.sensors import disruptive, the_things_stack
from api.webhooks.sensors.payload import PayloadError
from schemas import messages as m
from tests.api.sensor_payloads import NOON, NOON_MS, dt_event, example, raw, uplink

SECRET = "the signature secret of a data connector"

json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


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
        (jwt.encode({"exp": int(time.time()) + 3600}, "", algorithm="none"), "not made with this secret"),
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
