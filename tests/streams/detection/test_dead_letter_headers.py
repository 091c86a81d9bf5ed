"""Dead letters carry every header that DESIGN asks for, whatever the record came with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from cli.contracts.asyncapi import headers_of
from domain.detection.reading_validation import Refusal
from schemas import messages as m
from schemas.topics import READINGS_DLQ, SMS_DLQ
from streams.detection import dead_readings
from streams.engine import unreadable
from tests.streams.fakes import NOW_MS, FakeRecord

if TYPE_CHECKING:
    from streams.engine.publish import Outgoing

TRACE = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"


def dead_reading(*headers: tuple[str, bytes]) -> Outgoing:
    record = FakeRecord(b"{", key=b"u1", offset=41, topic="readings", partition=3, headers=headers)
    batch: Any = SimpleNamespace(topic="readings", partition=3, records=[record])
    refusal = Refusal(record, m.DeadLetterReason.NOT_JSON, "no JSON")
    return dead_readings.dead_letter(batch, refusal, NOW_MS)


def unreadable_record(*headers: tuple[str, bytes]) -> Outgoing:
    record: Any = FakeRecord(b"{", key=b"ann", offset=41, topic="sms-info", partition=3, headers=headers)
    return unreadable.dead_letter(record, SMS_DLQ, "no JSON", NOW_MS)


MAKERS = [(dead_reading, READINGS_DLQ, m.DeadReading), (unreadable_record, SMS_DLQ, m.UnreadableRecord)]


@pytest.mark.parametrize(("make", "topic", "kind"), MAKERS)
def test_every_documented_header_is_there(make: Any, topic: Any, kind: Any) -> None:
    documented: Any = headers_of(topic, kind)["properties"]
    headers = dict(make().headers)
    assert set(headers) == set(documented)
    assert headers["attempt"] == b"1"
    assert (headers["original-partition"], headers["original-offset"]) == (b"3", b"41")


@pytest.mark.parametrize(("make", "topic", "kind"), MAKERS)
def test_the_trace_goes_on_and_nonsense_in_its_place_begins_a_new_one(make: Any, topic: Any, kind: Any) -> None:
    assert dict(make(("traceparent", TRACE)).headers)["traceparent"] == TRACE
    assert len(dict(make(("traceparent", b"x" * 100_000)).headers)["traceparent"]) == len(TRACE)


@pytest.mark.parametrize(("header", "redrives"), [(b"2", 2), (b"-1", 0), (b"9" * 5_000, 0), (b"", 0)])
def test_a_reading_that_was_sent_again_tells_how_often(header: bytes, redrives: int) -> None:
    out = dead_reading(("attempt", header))
    assert msgspec.json.decode(out.value or b"", type=m.DeadReading).redrives == redrives
    assert dict(out.headers)["attempt"] == str(redrives + 1).encode()
