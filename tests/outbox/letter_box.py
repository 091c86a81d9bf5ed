"""Topics of a test's own with dead letters in them, and the commands that people look at them with."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
import typer
from typer.testing import CliRunner

from broker.topics import create_topics
from cli import dead_letters, sms
from domain.redrive.dead_letters import DEAD_LETTER_TOPICS
from schemas import messages as m
from schemas.headers import type_name
from schemas.topics import (
    DEAD_LETTER_SETTLEMENTS,
    READINGS,
    READINGS_DLQ,
    REDRIVE_TOPICS,
    SMS_DLQ,
    SMS_LANES,
    SMS_OUTCOMES,
    AnyTopic,
)
from tests.api.topic_records import Record, records
from tests.domain.redrive.letters import NOW_MS, letter, request

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from broker.settings import KafkaSettings
    from producers.kafka import KafkaProducer

app = typer.Typer()
dead_letters.register(app)
sms.register(app)


class LetterBox:
    """Everything that dead letters come from and go to."""

    def __init__(
        self,
        kafka: KafkaSettings,
        producer: KafkaProducer,
        monkeypatch: pytest.MonkeyPatch,
        topics: Sequence[AnyTopic] = (*DEAD_LETTER_TOPICS, *REDRIVE_TOPICS, DEAD_LETTER_SETTLEMENTS, SMS_OUTCOMES),
    ) -> None:
        self.kafka = kafka
        self.producer = producer
        create_topics(kafka.librdkafka(), prefix=kafka.topic_prefix, topics=topics)
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
        monkeypatch.setenv("KAFKA_TOPIC_PREFIX", kafka.topic_prefix)
        monkeypatch.setenv("COLUMNS", "400")
        monkeypatch.delenv("DATABASE_URL", raising=False)

    def put(self, topic: AnyTopic, key: str, message: msgspec.Struct) -> str:
        """Publish and return the place as `TOPIC/PARTITION/OFFSET`."""
        there = self.producer.publish(topic, key, m.encode(message), message_type=type_name(type(message))).result(20)
        return f"{topic.name}/{there.partition}/{there.offset}"

    def dead_sms(self, age_ms: int = 0, **fields: Any) -> str:
        """A dead SMS that was given up just now, or `age_ms` ago."""
        dead = letter(**fields)
        at_ms = time.time_ns() // 1_000_000 - age_ms
        return self.put(SMS_DLQ, dead.request.user_id, msgspec.structs.replace(dead, at_ms=at_ms))

    def dead_reading(self, dead: m.DeadReading) -> str:
        return self.put(READINGS_DLQ, "u1", msgspec.structs.replace(dead, at_ms=time.time_ns() // 1_000_000))

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

    def readings(self) -> list[Record]:
        return records(self.kafka, READINGS)

    def settled(self) -> list[m.DeadLetterSettled]:
        found = records(self.kafka, DEAD_LETTER_SETTLEMENTS)
        return [msgspec.json.decode(record.value or b"", type=m.DeadLetterSettled) for record in found]

    def run(self, *arguments: str) -> tuple[int, str]:
        return run(*arguments)


def run(*arguments: str) -> tuple[int, str]:
    """Exit code and everything that the command said."""
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    return done.exit_code, done.output


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
