"""What a record of `readings` may look like, and its fate."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.detection.reading_validation import MAX_RECORD_BYTES
from domain.detection.readings import Sorted, sort_records
from schemas import messages as m
from schemas.messages import DeadLetterReason as Reason
from schemas.messages.reading_bounds import FUTURE_MS
from tests.domain.detection.records import MAX_AGE_MS, START_MS, Raw, record

GOOD = '{"at_ms":1795000000000,"temperature_c":5.0}'


def batch(*readings: str, unit_id: str = "u") -> bytes:
    return f'{{"unit_id":"{unit_id}","readings":[{",".join(readings)}]}}'.encode()


def reading(temperature_c: str, at_ms: str = "1795000000001") -> str:
    return f'{{"at_ms":{at_ms},"temperature_c":{temperature_c}}}'


def sort(*records: Raw) -> Sorted:
    return sort_records(records, START_MS, MAX_AGE_MS)


WHOLE_RECORDS = [
    (b"u", None, Reason.NULL_VALUE),
    (None, None, Reason.NULL_VALUE),
    (b"u", b"", Reason.NOT_JSON),
    (b"u", b"temperature=5", Reason.NOT_JSON),
    (b"u", b"\xff\xfe", Reason.NOT_JSON),
    (b"u", batch(GOOD)[:-1], Reason.NOT_JSON),
    (b"u", batch(GOOD) + batch(GOOD), Reason.NOT_JSON),
    (b"u", b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", Reason.NOT_JSON),
    (b"u", b"null", Reason.WRONG_SHAPE),
    (b"u", b"[]", Reason.WRONG_SHAPE),
    (b"u", b'{"unit_id":"u"}', Reason.WRONG_SHAPE),
    (b"u", b'{"unit_id":7,"readings":[' + GOOD.encode() + b"]}", Reason.WRONG_SHAPE),
    (b"u", b'{"unit_id":"u","readings":5}', Reason.WRONG_SHAPE),
    (b"u" * 202, batch(GOOD, unit_id="u" * 202), Reason.WRONG_SHAPE),
    (b"", batch(GOOD, unit_id=""), Reason.WRONG_SHAPE),
    (b"u", batch(), Reason.EMPTY_BATCH),
    (None, batch(GOOD), Reason.MISSING_KEY),
    (b"v", batch(GOOD), Reason.KEY_MISMATCH),
    (b"\xff", batch(GOOD), Reason.KEY_MISMATCH),
    # a bad reading within changes nothing about the key
    (b"v", batch(GOOD, reading("NaN")), Reason.KEY_MISMATCH),
    (None, batch(GOOD, reading("NaN")), Reason.MISSING_KEY),
    (b"u", b" " * (2 * MAX_RECORD_BYTES), Reason.TOO_LARGE),
]


@pytest.mark.parametrize(("key", "value", "reason"), WHOLE_RECORDS)
def test_a_record_that_cannot_be_used_is_refused_with_its_reason(
    key: bytes | None, value: bytes | None, reason: Reason
) -> None:
    found = sort(Raw(key, value, 7))
    assert not found.runs
    assert [(refusal.reason, refusal.record.offset, refusal.whole) for refusal in found.refusals] == [(reason, 7, True)]
    assert found.refusals[0].detail


READINGS = [
    (reading("NaN"), Reason.NOT_FINITE),
    (reading("Infinity"), Reason.NOT_FINITE),
    (reading("-Infinity"), Reason.NOT_FINITE),
    (reading("1e999"), Reason.NOT_FINITE),
    (reading('"NaN"'), Reason.NOT_FINITE),
    (reading('"-inf"'), Reason.NOT_FINITE),
    (reading('"5.0"'), Reason.WRONG_SHAPE),
    (reading("true"), Reason.WRONG_SHAPE),
    (reading("null"), Reason.WRONG_SHAPE),
    ("5.0", Reason.WRONG_SHAPE),
    ('{"at_ms":1795000000001}', Reason.WRONG_SHAPE),
    (reading("5.0", '"2026-11-24T12:00:00Z"'), Reason.WRONG_SHAPE),
    (reading("-127"), Reason.IMPOSSIBLE_TEMPERATURE),
    (reading("150.1"), Reason.IMPOSSIBLE_TEMPERATURE),
    (reading("-1e300"), Reason.IMPOSSIBLE_TEMPERATURE),
    (reading("5.0", "1795000000"), Reason.IMPOSSIBLE_TIME),
    (reading("5.0", "-1"), Reason.IMPOSSIBLE_TIME),
    (reading("5.0", str(START_MS + FUTURE_MS + 1)), Reason.FUTURE_TIME),
    (reading("5.0", "9" * 40), Reason.FUTURE_TIME),
]


@pytest.mark.parametrize(("bad", "reason"), READINGS)
def test_one_bad_reading_does_not_refuse_the_good_ones(bad: str, reason: Reason) -> None:
    found = sort(Raw(b"u", batch(GOOD, bad, reading("6.0", "1795000000002")), 7))
    assert found.runs[b"u"].temperatures == [5.0, 6.0]
    assert [(refusal.reason, refusal.count, refusal.whole) for refusal in found.refusals] == [(reason, 1, False)]


@pytest.mark.parametrize(("bad", "reason"), READINGS)
def test_a_record_of_bad_readings_only_is_refused_whole(bad: str, reason: Reason) -> None:
    found = sort(Raw(b"u", batch(bad, bad)))
    assert not found.runs
    assert [(refusal.reason, refusal.count, refusal.whole) for refusal in found.refusals] == [(reason, 2, True)]
    # Whatever is shown of it can be sent.
    m.encode(found.refusals[0].readings)


def test_the_bounds_themselves_are_possible() -> None:
    found = sort(Raw(b"u", batch(reading("-100"), reading("150"), reading("5", str(START_MS + FUTURE_MS)))))
    assert not found.refusals
    assert len(found.runs[b"u"].times) == 3


def test_a_record_with_several_faults_has_a_refusal_for_each_reason() -> None:
    found = sort(Raw(b"u", batch(reading("NaN"), reading("200"), reading("201"), GOOD, "{}")))
    assert [(refusal.reason, refusal.count) for refusal in found.refusals] == [
        (Reason.NOT_FINITE, 1),
        (Reason.IMPOSSIBLE_TEMPERATURE, 2),
        (Reason.WRONG_SHAPE, 1),
    ]
    assert found.refusals[1].readings == (
        m.Reading(1795000000001, 200.0),
        m.Reading(1795000000001, 201.0),
    )


def test_a_bad_record_among_good_ones_costs_only_itself() -> None:
    found = sort(
        record("u", [(0, 5.0)], 0),
        Raw(b"u", b"{", 1),
        Raw(b"v", batch(GOOD), 2),
        record("v", [(0, 6.0)], 3),
        record("u", [(1, 7.0)], 4),
    )
    assert found.runs[b"u"].temperatures == [5.0, 7.0]
    assert found.runs[b"v"].temperatures == [6.0]
    assert [(refusal.record.offset, refusal.reason) for refusal in found.refusals] == [
        (1, Reason.NOT_JSON),
        (2, Reason.KEY_MISMATCH),
    ]


def test_the_future_is_seen_behind_a_present_reading_too() -> None:
    found = sort(record("u", [(400, 5.0), (0, 6.0)], 0), record("u", [(1, 7.0)], 1))
    assert found.runs[b"u"].temperatures == [6.0, 7.0]
    assert [refusal.reason for refusal in found.refusals] == [Reason.FUTURE_TIME]
    assert "400 s ahead" in found.refusals[0].detail


def test_unknown_fields_are_ignored() -> None:
    value = b'{"unit_id":"u","rssi":-70,"readings":[{"at_ms":1795000000000,"temperature_c":5,"voltage":2.9}]}'
    assert sort(Raw(b"u", value)).runs[b"u"].temperatures == [5.0]


def test_a_run_knows_what_lies_behind_a_fence() -> None:
    run = sort(record("u", [(0, 1.0), (1, 2.0)], 3), record("u", [(2, 3.0)], 5)).runs[b"u"]
    assert run.after(2) is run
    assert run.last_offset == 5
    part = run.after(3)
    assert part is not None
    assert part.temperatures == [3.0]
    assert run.after(5) is None


@pytest.mark.parametrize(("seconds", "ascending"), [([0, 1, 2], True), ([0, 0], False), ([1, 0], False), ([3], True)])
def test_a_run_tells_whether_it_is_in_order(seconds: list[int], ascending: bool) -> None:
    run = sort(*(record("u", [(second, 5.0)], offset) for offset, second in enumerate(seconds))).runs[b"u"]
    assert run.ascending is ascending


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["unit_id", "readings", "at_ms", "temperature_c", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)
VALUES = (
    st.none()
    | st.binary(max_size=40)
    | JSON.map(lambda document: json.dumps(document).encode())
    | st.lists(JSON, max_size=4).map(lambda items: json.dumps({"unit_id": "u", "readings": items}).encode())
)


@given(st.lists(st.tuples(st.none() | st.binary(max_size=3) | st.just(b"u"), VALUES), max_size=6))
def test_no_record_raises_and_each_is_used_or_refused(raw: list[tuple[bytes | None, bytes | None]]) -> None:
    records = [Raw(key, value, offset) for offset, (key, value) in enumerate(raw)]
    found = sort_records(records, START_MS, MAX_AGE_MS)
    used = {pair[0].offset for run in found.runs.values() for pair in run.pairs}
    refused = {refusal.record.offset for refusal in found.refusals if refusal.whole}
    assert used | refused == set(range(len(records)))
    assert not used & refused
    for refusal in found.refusals:
        m.encode(refusal.readings)
