"""Uplinks of The Things Stack become readings: the vendor's own examples, and made-up ones that break a rule each."""

from __future__ import annotations

from typing import Any

import pytest

from api.webhooks.sensors import the_things_stack
from api.webhooks.sensors.payload import PayloadError
from schemas import messages as m
from tests.api.sensor_payloads import NOON, NOON_MS, example, raw, uplink

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
