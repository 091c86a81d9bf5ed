"""The newest redrive of an SMS in its lane, and what became of it, at a real broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from domain.redrive.redrive import Past
from outbox.sms_requests import find_sms
from producers.kafka import KafkaProducer
from schemas import messages as m
from schemas.topics import SMS_OUTCOMES
from tests.outbox.letter_box import LetterBox, decided

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.settings import KafkaSettings

pytestmark = pytest.mark.broker


@pytest.fixture
def box(kafka_settings: KafkaSettings) -> Iterator[LetterBox]:
    with KafkaProducer(kafka_settings.librdkafka(), prefix=kafka_settings.topic_prefix) as producer:
        yield LetterBox(kafka_settings, producer, topics=[SMS_OUTCOMES])


def found(box: LetterBox, request_id: str, since_ms: int | None = None) -> Past | None:
    return find_sms(box.kafka, request_id, user_id="ann", severities=list(m.Severity), since_ms=since_ms, limit_s=20)


def test_outcomes_of_an_earlier_redrive_do_not_count(box: LetterBox) -> None:
    wanted = box.sent_sms("s1", "retry_scheduled", "delivered")
    box.sent_sms("s2", "dead")
    assert found(box, "s1") == Past(wanted, "delivered")
    again = box.sent_sms("s1", redrives=1)
    assert found(box, "s1") == Past(again, None)
    box.put_outcome(decided(again, "retry_scheduled"))
    assert found(box, "s1") == Past(again, "retry_scheduled")
    # A retry of the same redrive is not its beginning.
    box.sent_sms("s1", redrives=1, attempts=1)
    assert found(box, "s1") == Past(again, "retry_scheduled")


def test_a_request_that_no_lane_has_is_not_found(box: LetterBox) -> None:
    wanted = box.sent_sms("s1", "delivered")
    assert found(box, "s") is None
    assert found(box, "s1", since_ms=wanted.requested_at_ms + 3_600_000) is None
    assert msgspec.structs.replace(wanted, request_id="s1") == wanted
