"""Records that once stopped a worker: each is refused, and the dead letter about it can be sent."""

import pytest

from domain.detection.readings import sort_records
from schemas import messages as m
from streams.detection.dead_readings import dead_letter
from tests.domain.detection.records import MAX_AGE_MS, START_MS, Raw
from tests.streams.detection.detection_fakes import batch_of

READING = '{"at_ms":1795000000000,"temperature_c":5}'
SURROGATES = [
    r'{"unit_id":"u","readings":[{"at_ms":1795000000000,"temperature_c":"\udfff"}]}',
    r'{"unit_id":"u\udfff","readings":[' + READING + "]}",
    r'{"unit_id":"u","readings":[{"at_ms":"\ud800","temperature_c":5}]}',
    r'{"unit_id":"u","readings":[{"\ud800":1,"temperature_c":5}]}',
    r'{"unit_id":"u","readings":[' + READING + r',{"at_ms":1795000000000,"temperature_c":NaN}],"\udfff":"\udfff"}',
]


@pytest.mark.parametrize("key", [b"u", b"u\xed\xbf\xbf", b"\xff"])
@pytest.mark.parametrize("text", SURROGATES)
def test_a_lone_surrogate_is_a_dead_letter(text: str, key: bytes) -> None:
    record = Raw(key, text.encode())
    found = sort_records([record], START_MS, MAX_AGE_MS)
    assert found.refusals
    for refusal in found.refusals:
        out = dead_letter(batch_of([record]), refusal, START_MS)
        assert dict(out.headers)["error-code"] == refusal.reason.encode()


@pytest.mark.parametrize("digits", [30, 400, 5_000])
def test_a_number_of_hundreds_of_digits_is_a_dead_letter(digits: int) -> None:
    for item in (f'{{"at_ms":1{"0" * digits},"temperature_c":5}}', f'{{"at_ms":5,"temperature_c":1{"0" * digits}}}'):
        record = Raw(b"u", f'{{"unit_id":"u","readings":[{item}]}}'.encode())
        (refusal,) = sort_records([record], START_MS, MAX_AGE_MS).refusals
        assert m.encode(dead_letter(batch_of([record]), refusal, START_MS).headers[0][0])
