"""SMS that were done with, found in their lanes and sent again, at a real broker."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import msgspec
import pytest

from broker.settings import KafkaSettings
from domain.redrive.redrive import Past
from outbox.sms_requests import find_sms, partition_of
from producers.kafka import KafkaProducer
from schemas import messages as m
from schemas.topics import SMS_LANES
from tests.outbox.letter_box import LetterBox, decided

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Kafka

pytestmark = pytest.mark.broker


@pytest.fixture
def box(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> Iterator[LetterBox]:
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap, topic_prefix=f"{uuid.uuid4().hex[:8]}.")
    with KafkaProducer(settings.librdkafka(), prefix=settings.topic_prefix) as producer:
        yield LetterBox(settings, producer, monkeypatch)


def test_an_sms_that_was_delivered_is_sent_once_more_until_that_one_is_done_with(box: LetterBox) -> None:
    wanted = box.sent_sms("s1", "delivered")
    box.sent_sms("s2", "retry_scheduled")
    assert box.run("sms", "rerun", "s1", "--user", "ann", "--dry-run")[0] == 0
    assert len(box.in_lane()) == 2
    assert box.run("sms", "rerun", "s1", "--user", "ann")[0] == 0

    code, told = box.run("sms", "rerun", "s1")

    assert code == 1
    assert "refused (under_way): the request is not done with: its last outcome is none yet" in told
    again = [msgspec.json.decode(record.value or b"", type=m.SmsRequest) for record in box.in_lane()][-1]
    assert again == msgspec.structs.replace(wanted, redrives=1)
    box.put_outcome(decided(again, "delivered"))
    assert box.run("sms", "rerun", "s1", "--since", "1h")[0] == 0
    assert find_sms(box.kafka, "s1") == Past(msgspec.structs.replace(wanted, redrives=2), None)


@pytest.mark.parametrize(
    ("request_id", "words"),
    [
        ("s-none", "refused (gone)"),
        ("s-dead", "refused (dead): the request lies with the dead letters"),
        ("s-waits", "its last outcome is retry_scheduled"),
        ("s-old", "refused (stale): the request is 25.0 h old"),
    ],
)
def test_a_rerun_that_makes_no_sense_is_refused(box: LetterBox, request_id: str, words: str) -> None:
    box.sent_sms("s-dead", "delivered", "dead")
    box.sent_sms("s-waits", "retry_scheduled")
    box.sent_sms("s-old", "delivered", requested_at_ms=time.time_ns() // 1_000_000 - 25 * 3_600_000)
    code, told = box.run("sms", "rerun", request_id)
    assert code == 1
    assert words in told
    assert len(box.in_lane()) == 3


def test_a_user_is_looked_for_where_every_producer_puts_the_users_messages(box: LetterBox) -> None:
    for number in range(12):
        user = f"user-{number}"
        box.sent_sms(f"s{number}", user_id=user)
        past = find_sms(box.kafka, f"s{number}", user_id=user, severities=[m.Severity.WARNING])
        assert past is not None
        assert past.request.user_id == user
    assert len({partition_of(f"user-{number}", SMS_LANES[m.Severity.INFO]) for number in range(12)}) == 4
