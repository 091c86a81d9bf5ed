"""SMS lanes of a test's own, with requests and outcomes in them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from broker.topics import create_topics
from schemas import messages as m
from schemas.headers import type_name
from schemas.topics import (
    SMS_LANES,
    SMS_OUTCOMES,
    AnyTopic,
)
from tests.api.topic_records import Record, records
from tests.domain.redrive.letters import NOW_MS, request

if TYPE_CHECKING:
    from collections.abc import Sequence

    import msgspec

    from broker.settings import KafkaSettings
    from producers.kafka import KafkaProducer


class LetterBox:
    """Puts requests into lanes and outcomes behind them."""

    def __init__(
        self,
        kafka: KafkaSettings,
        producer: KafkaProducer,
        topics: Sequence[AnyTopic],
    ) -> None:
        self.kafka = kafka
        self.producer = producer
        create_topics(kafka.librdkafka(), prefix=kafka.topic_prefix, topics=topics)

    def put(self, topic: AnyTopic, key: str, message: msgspec.Struct) -> str:
        """Publish and return the place as `TOPIC/PARTITION/OFFSET`."""
        there = self.producer.publish(topic, key, m.encode(message), message_type=type_name(type(message))).result(20)
        return f"{topic.name}/{there.partition}/{there.offset}"

    def sent_sms(self, request_id: str, *outcomes: str, **fields: Any) -> m.SmsRequest:
        """An SMS in its lane that was requested just now, and what was decided about it."""
        fields = {"requested_at_ms": time.time_ns() // 1_000_000} | fields
        wanted = request(request_id=request_id, **fields)
        self.put(SMS_LANES[wanted.severity], wanted.user_id, wanted)
        for outcome in outcomes:
            self.put_outcome(decided(wanted, outcome))
        return wanted

    def put_outcome(self, outcome: m.SmsOutcome) -> None:
        self.put(SMS_OUTCOMES, outcome.user_id, outcome)

    def in_lane(self, severity: m.Severity = m.Severity.WARNING) -> list[Record]:
        return records(self.kafka, SMS_LANES[severity])


def decided(wanted: m.SmsRequest, outcome: str) -> m.SmsOutcome:
    about: dict[str, Any] = {
        "request_id": wanted.request_id,
        "alert_id": wanted.alert_id,
        "organization_id": wanted.organization_id,
        "user_id": wanted.user_id,
        "kind": wanted.kind,
        "severity": wanted.severity,
        "attempt": 1,
        "at_ms": NOW_MS,
    }
    match outcome:
        case "delivered":
            return m.SmsDelivered(provider_message_id="p", **about)
        case "retry_scheduled":
            return m.SmsRetryScheduled(due_at_ms=NOW_MS, error_code="timeout", **about)
        case "dead":
            return m.SmsDead(reason="exhausted", error_code="timeout", **about)
    raise AssertionError(outcome)
