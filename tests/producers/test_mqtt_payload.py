"""What an MQTT message says, and that whatever is not understood ends among the dead letters."""

from __future__ import annotations

import json
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.detection.reading_validation import PossibleBatch, Refusal, validated, wrong_key
from producers.mqtt_payload import KEPT_BYTES, Forward, understand
from producers.mqtt_settings import MqttSettings
from schemas.messages import DeadLetterReason, Reading, ReadingBatch

TOPIC = "organization/acme/site/north/unit/fridge-1/temperature"
NOW_MS = 1_772_366_400_000


class Kept(NamedTuple):
    """A record as detection reads it."""

    key: bytes
    value: bytes
    offset: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int = NOW_MS


def judged(forward: Forward) -> tuple[list[PossibleBatch], list[Refusal]]:
    """What detection uses of the records, and what it refuses."""
    used: list[PossibleBatch] = []
    refusals: list[Refusal] = []
    for value in forward.values:
        record = Kept(forward.key.encode(), value)
        batch = validated(record, refusals)
        if batch is not None and (other := wrong_key(record, batch.unit_id)) is not None:
            refusals.append(other)
        elif batch is not None:
            used.append(batch)
    return used, refusals


def readings(payload: str) -> list[Reading]:
    forward = understand(TOPIC, payload.encode(), arrived_ms=NOW_MS)
    assert forward.problem is None
    batches = [msgspec.json.decode(value, type=ReadingBatch) for value in forward.values]
    assert {batch.unit_id for batch in batches} == {forward.key} == {"acme/fridge-1"}
    return [reading for batch in batches for reading in batch.readings]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("4.2", [Reading(NOW_MS, 4.2)]),
        (" -18\n", [Reading(NOW_MS, -18.0)]),
        ('{"temperature": 4.2}', [Reading(NOW_MS, 4.2)]),
        ('{"temperature_c": 4.2, "at_ms": 1772366400123, "battery": 87}', [Reading(1_772_366_400_123, 4.2)]),
        ('{"temperature_f": 41, "timestamp": "2026-03-01T13:00:00+01:00"}', [Reading(NOW_MS, 5.0)]),
        ('{"temperature": 4, "time": 1772366400}', [Reading(NOW_MS, 4.0)]),
        ('{"temperature": 4, "timestamp": "1772366400000", "unit_id": "fridge-1"}', [Reading(NOW_MS, 4.0)]),
        (
            '{"readings": [{"temperature": 4, "at_ms": 1772366400000}, {"temperature": 5, "at_ms": 1772366460000}]}',
            [Reading(NOW_MS, 4.0), Reading(NOW_MS + 60_000, 5.0)],
        ),
        ('[{"temperature": 4, "time": "2026-03-01T12:00:00Z"}]', [Reading(NOW_MS, 4.0)]),
    ],
)
def test_a_number_a_reading_and_a_batch_are_understood(payload: str, expected: list[Reading]) -> None:
    assert readings(payload) == expected


@pytest.mark.parametrize(
    ("payload", "reason", "problem"),
    [
        ("", DeadLetterReason.NOT_JSON, "truncated"),
        ("warm", DeadLetterReason.NOT_JSON, "malformed"),
        ("nan", DeadLetterReason.NOT_JSON, "truncated"),
        ('"4.2"', DeadLetterReason.WRONG_SHAPE, "Expected `int | float`"),
        ("[]", DeadLetterReason.WRONG_SHAPE, "the batch is empty"),
        ("[" * 100_000, DeadLetterReason.NOT_JSON, "depth"),
        ('{"humidity": 40}', DeadLetterReason.WRONG_SHAPE, "send one of temperature_c"),
        ('{"temperature": 4, "temperature_f": 39}', DeadLetterReason.WRONG_SHAPE, "send one of temperature_c"),
        ('{"temperature": 4, "at_ms": 1, "time": 2}', DeadLetterReason.WRONG_SHAPE, "send one of at_ms"),
        ('{"temperature": 4, "time": "2026-03-01T12:00:00"}', DeadLetterReason.WRONG_SHAPE, "with an offset"),
        ('{"temperature": -300}', DeadLetterReason.WRONG_SHAPE, "below absolute zero"),
        ('{"temperature": 4, "unit_id": "other"}', DeadLetterReason.KEY_MISMATCH, "unit_id is 'acme/other'"),
        ("200", DeadLetterReason.IMPOSSIBLE_TEMPERATURE, None),
    ],
)
def test_what_is_no_reading_becomes_a_dead_letter(payload: str, reason: DeadLetterReason, problem: str | None) -> None:
    forward = understand(TOPIC, payload.encode(), arrived_ms=NOW_MS)
    used, refusals = judged(forward)
    assert not used
    assert [refusal.reason for refusal in refusals] == [reason]
    if problem is None:
        assert forward.problem is None
    else:
        assert problem in (forward.problem or "")


def test_of_a_batch_with_a_bad_reading_the_others_are_used() -> None:
    payload = b'[{"temperature": 4, "at_ms": 1772366400000}, {"temperature": null}, {"temperature": 5}]'
    forward = understand(TOPIC, payload, arrived_ms=NOW_MS)
    [used], refusals = judged(forward)
    assert [(reading.at_ms, reading.temperature_c) for reading in used.readings] == [(NOW_MS, 4.0)]
    assert sum(refusal.count for refusal in refusals) == 2
    assert forward.problem is not None
    assert forward.problem.startswith("reading 1: send one of")


def test_a_retained_number_is_not_sent_for_nobody_knows_its_time() -> None:
    assert understand(TOPIC, b"4.2", arrived_ms=NOW_MS, retained=True).values == ()
    assert understand(TOPIC, b'{"temperature": 4.2}', arrived_ms=NOW_MS, retained=True).values == ()
    assert understand(TOPIC, b'{"temperature": 4.2, "time": 1772366400}', arrived_ms=NOW_MS, retained=True).values


def test_a_large_batch_becomes_several_records_and_what_cannot_be_one_is_cut() -> None:
    item = '{"temperature": 4.25, "at_ms": 1772366400000}'
    assert len(readings(f"[{','.join([item] * 12_000)}]")) == 12_000
    forward = understand(TOPIC, b"x" * 3_000_000, arrived_ms=NOW_MS)
    assert [len(value) for value in forward.values] == [KEPT_BYTES]
    assert "the first 65536 of 3000000 bytes are kept" in (forward.problem or "")
    forward = understand(TOPIC, f'[{{"note": "{"x" * 2_000_000}"}}]'.encode(), arrived_ms=NOW_MS)
    assert [len(value) for value in forward.values] == [KEPT_BYTES]


@settings(deadline=None)
@given(st.binary(max_size=200) | st.from_regex(r'[\[{][\]}":,0-9a-z_.\-]{0,60}').map(str.encode))
def test_whatever_bytes_come_they_are_a_record_or_a_dead_letter(payload: bytes) -> None:
    forward = understand(TOPIC, payload, arrived_ms=NOW_MS)
    used, refusals = judged(forward)
    assert used or refusals


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"MQTT_PASSWORD": "x"}, "MQTT_USERNAME must be set too"),
        ({"MQTT_CA_FILE": "/ca.pem"}, "set MQTT_TLS=true"),
        ({"MQTT_TLS": "true", "MQTT_CERT_FILE": "/cert.pem"}, "belong together"),
    ],
)
def test_settings_that_make_no_sense_together_say_so(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], problem: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=problem):
        MqttSettings()


def test_with_tls_the_port_is_another() -> None:
    assert MqttSettings().address == ("localhost", 1883)
    assert MqttSettings(tls=True).address == ("localhost", 8883)


@pytest.mark.parametrize("digits", [30, 400, 5_000])
@pytest.mark.parametrize(
    "form",
    ["{}", '{{"temperature_c":{}}}', '{{"temperature_c":4,"at_ms":{}}}', '[{{"temperature_f":{},"at_ms":1795000000}}]'],
)
def test_a_number_of_hundreds_of_digits_is_handed_on_as_it_came(form: str, digits: int) -> None:
    payload = form.format("1" + "0" * digits).encode()
    forward = understand("organization/o/site/s/unit/u/temperature", payload, arrived_ms=1_795_000_000_000)
    assert forward.values
    if digits > 30:
        assert forward.problem
        assert forward.readings == 0


def test_on_a_broker_of_one_organization_the_settings_name_it() -> None:
    forward = understand("site/north/unit/fridge-1/temperature", b"4.2", arrived_ms=NOW_MS, organization_id="acme")
    assert forward.key == "acme/fridge-1"


@pytest.mark.parametrize("named", ["other/fridge-1", "../other/fridge-1", "fridge-2"])
def test_no_payload_speaks_for_another_unit_or_organization_than_its_topic(named: str) -> None:
    payload = json.dumps({"unit_id": named, "readings": [{"temperature": 4, "at_ms": NOW_MS}]}).encode()
    used, refusals = judged(understand(TOPIC, payload, arrived_ms=NOW_MS))
    assert (used, [refusal.reason for refusal in refusals]) == ([], [DeadLetterReason.KEY_MISMATCH])
