"""Dead letters at a real broker: looked at and sent again, by function and by command."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING

import msgspec
import pytest

from broker.settings import KafkaSettings
from domain.redrive.dead_letters import LetterId, Selection
from domain.redrive.redrive import Options
from outbox.redrives import fetch, find, judge, send_again
from outbox.topic_scan import TopicReadError, scan
from producers.kafka import KafkaProducer
from schemas import messages as m
from schemas.topics import EMAIL_DLQ, SMS_DLQ
from tests.domain.redrive.letters import batch, dead_reading, email_letter
from tests.outbox.letter_box import LetterBox, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Kafka

pytestmark = pytest.mark.broker

HOUR_MS = 3_600_000


@pytest.fixture
def box(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> Iterator[LetterBox]:
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap, topic_prefix=f"{uuid.uuid4().hex[:8]}.")
    with KafkaProducer(settings.librdkafka(), prefix=settings.topic_prefix) as producer:
        yield LetterBox(settings, producer, monkeypatch)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_sending_again_twice_makes_the_same_record_under_the_same_id(box: LetterBox) -> None:
    filed = fetch(box.kafka, LetterId.parse(box.dead_sms()))
    assert filed is not None
    verdicts = judge([filed], now_ms=now_ms(), options=Options())
    # The second time is as after a crash before the mark was written.
    for _ in range(2):
        send_again(box.producer, verdicts, by="eve", now_ms=now_ms())

    first, second = box.in_lane()
    assert (first.key, first.value, first.headers["id"]) == (second.key, second.value, second.headers["id"])
    request = msgspec.json.decode(first.value or b"", type=m.SmsRequest)
    assert (request.attempts, request.redrives, request.request_id) == (0, 1, "r1")
    assert first.headers["attempt"] == "0"
    assert first.headers["original-topic"] == "sms-dlq"


def test_a_letter_that_was_sent_again_is_left_alone_by_the_next_filtered_run(box: LetterBox) -> None:
    box.dead_sms(request_id="r1")
    box.dead_sms(request_id="r2", user_id="bob")
    code, told = box.run("dead-letters", "redrive", "--topic", "sms", "--yes")
    assert (code, told.splitlines()[-1]) == (0, "2 sent again, 0 refused, 0 failed")

    box.dead_sms(request_id="r3")
    code, told = box.run("dead-letters", "redrive", "--topic", "sms", "--yes")

    assert told.splitlines()[-1] == "1 sent again, 0 refused, 0 failed"
    sent = [msgspec.json.decode(record.value or b"", type=m.SmsRequest).request_id for record in box.in_lane()]
    assert sorted(sent) == ["r1", "r2", "r3"]
    assert {mark.redrives for mark in box.settled()} == {1}


def test_a_filter_does_nothing_until_it_is_told_yes(box: LetterBox) -> None:
    box.dead_sms()
    for options in ([], ["--yes", "--dry-run"]):
        code, told = box.run("dead-letters", "redrive", "--user", "ann", *options)
        assert code == 0
        assert "would go to sms-warning as redrive 1" in told
        assert told.endswith("nothing was done\n")
    assert box.in_lane() == []
    assert box.settled() == []


def test_a_named_letter_is_sent_at_once_and_refused_the_second_time(box: LetterBox) -> None:
    place = box.dead_sms()
    assert box.run("dead-letters", "redrive", place, "--dry-run")[0] == 0
    assert box.run("dead-letters", "redrive", place)[0] == 0
    code, told = box.run("dead-letters", "redrive", place, "--force")
    assert code == 1
    assert "refused (settled)" in told
    assert len(box.in_lane()) == 1
    [mark] = box.settled()
    assert (mark.letter_id, mark.sent_to, mark.message_id) == (place, "sms-warning", box.in_lane()[0].headers["id"])


def test_what_speaks_against_it_is_told_and_can_be_forced(box: LetterBox) -> None:
    old, looping = box.dead_sms(25 * HOUR_MS), box.dead_sms(redrives=5, request_id="r2")
    code, told = box.run("dead-letters", "redrive", old, looping, "sms-dlq/0/999")
    assert code == 1
    assert f"{old}  refused (stale): the letter is 25.0 h old, 24 h are allowed" in told
    assert f"{looping}  refused (loop)" in told
    assert "sms-dlq/0/999  no dead letter lies there" in told
    assert box.run("dead-letters", "redrive", old, "--max-age-h", "26")[0] == 0
    assert box.run("dead-letters", "redrive", looping, "--force")[0] == 0
    sent = sorted(msgspec.json.decode(record.value or b"", type=m.SmsRequest).redrives for record in box.in_lane())
    assert sent == [1, 6]


def test_a_dead_reading_goes_back_as_it_came_and_counts_how_often(box: LetterBox) -> None:
    value = batch((0, 4.0))
    place = box.dead_reading(dead_reading(value, redrives=1))
    whole = box.dead_reading(dead_reading(value, value_bytes=99_999))
    code, told = box.run("dead-letters", "redrive", place, whole)
    assert code == 1
    assert f"{whole}  refused (lifeless)" in told
    [record] = box.readings()
    assert (record.key, record.value, record.headers["attempt"]) == ("u1", value, "2")
    assert record.headers["type"] == "reading_batch"


def test_the_newest_are_listed_masked_and_by_what_was_asked_for(box: LetterBox) -> None:
    for hours in (3, 1, 2):
        box.dead_sms(hours * HOUR_MS, request_id=f"r{hours}", organization_id=f"o{hours}")
    box.put(EMAIL_DLQ, "ann", email_letter())
    dead = msgspec.structs.replace(email_letter(), error="ann@example.com refused, +12025550123 too", at_ms=now_ms())
    box.put(EMAIL_DLQ, "ann", dead)

    def listed(*options: str) -> list[str]:
        code, told = box.run("dead-letters", "list", "--json", *options)
        assert code == 0, told
        return [json.loads(line)["request_id"] for line in told.splitlines()]

    assert listed("--topic", "sms") == ["r1", "r2", "r3"]
    assert listed("--topic", "sms", "--limit", "2") == ["r1", "r2"]
    assert listed("--since", "150m", "--topic", "sms") == ["r1", "r2"]
    assert listed("--until", "150m", "--topic", "sms") == ["r3"]
    assert listed("--organization", "o2", "--code", "timeout", "--reason", "exhausted") == ["r2"]
    _, told = box.run("dead-letters", "list", "--topic", "email", "--limit", "1")
    assert "a***@example.com refused, +12*******23 too" in told
    assert told.splitlines()[-1] == "2 dead letters, the newest 1 are shown"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["redrive"], "name letters, or filter them"),
        (["redrive", "sms-dlq/0/1", "--all"], "not both"),
        (["redrive", "sms-dlq"], "write TOPIC/PARTITION/OFFSET"),
        (["list", "--topic", "fax"], "is none of sms, readings, email"),
        (["list", "--since", "2026-03-01"], "write one with its offset"),
    ],
)
def test_what_was_meant_is_asked_for_when_it_is_not_clear(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("COLUMNS", "400")
    code, told = run("dead-letters", *arguments)
    assert code == 2
    assert words in told


def test_what_is_no_letter_is_passed_over_and_unreadable_records_are_shown(box: LetterBox) -> None:
    place = box.put(
        SMS_DLQ, "ann", m.UnreadableRecord(topic="sms-info", partition=0, offset=1, at_ms=now_ms(), detail="cut short")
    )
    box.producer.publish(SMS_DLQ, "ann", b"{", message_type="?").result(10)
    assert [str(filed.place) for filed in find(box.kafka, Selection(), limit=9).letters] == [place]
    code, told = box.run("dead-letters", "redrive", place, "--force")
    assert (code, "its writer must write it anew" in told) == (1, True)


def test_a_topic_that_is_missing_or_not_read_in_time_is_told(box: LetterBox) -> None:
    elsewhere = KafkaSettings(bootstrap_servers=box.kafka.bootstrap_servers, topic_prefix="nobodys.")
    with pytest.raises(TopicReadError, match="run `freshtrack topics create`"):
        list(scan(elsewhere, SMS_DLQ))
    with pytest.raises(TopicReadError, match="is the broker up"):
        list(scan(KafkaSettings(bootstrap_servers="127.0.0.1:1"), SMS_DLQ, limit_s=0.2))
