"""What the reader of the live page makes of interruptions and of values that cannot be; no broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from confluent_kafka import KafkaException

from api.pages import live_feed
from api.pages.live_feed import LiveFeed
from broker.settings import KafkaSettings
from schemas import messages as m
from schemas.topics import ALERTS, READINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Consumer, TopicPartition

NOW_MS = 1_795_000_000_000


class Record:
    def __init__(self, topic: str, value: bytes) -> None:
        self._topic, self._value = topic, value

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return self._topic

    def value(self) -> bytes:
        return self._value


class Broker:
    """Gives `records`, then goes away."""

    def __init__(self, *records: Record) -> None:
        self._records = list(records)

    def __call__(self, _: object) -> Consumer:
        return cast("Consumer", self)

    def assign(self, _: Sequence[TopicPartition]) -> None:
        pass

    def consume(self, *_: object) -> list[Record]:
        if not self._records:
            raise KafkaException
        found, self._records = self._records, []
        return found

    def close(self) -> None:
        pass


def read_once(feed: LiveFeed, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_feed, "Consumer", broker)
    monkeypatch.setattr(feed, "_begin", lambda _: [])
    with pytest.raises(KafkaException):
        feed._read()


@pytest.fixture
def feed() -> LiveFeed:
    return LiveFeed(KafkaSettings(), lambda: NOW_MS, 300_000)


def test_an_alert_that_ended_during_a_long_interruption_does_not_stay_open(
    feed: LiveFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    triggered = m.AlertTriggered(
        alert_id="a-1",
        unit_id="u",
        organization_id="acme",
        rule_id="h",
        kind=m.AlertKind.TEMPERATURE_HIGH,
        severity=m.Severity.CRITICAL,
        started_at_ms=NOW_MS,
        at_ms=NOW_MS,
    )
    read_once(feed, Broker(Record(ALERTS.name, m.encode(triggered))), monkeypatch)
    assert list(feed.alerts) == ["u"]
    read_once(feed, Broker(), monkeypatch)
    assert not feed.alerts


@pytest.mark.parametrize("celsius", [1e300, -300.0, 5_000.0])
def test_a_temperature_that_cannot_be_is_not_shown(
    feed: LiveFeed, celsius: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = m.ReadingBatch("u", [m.Reading(NOW_MS - 60_000, 4.0), m.Reading(NOW_MS, celsius)])
    read_once(feed, Broker(Record(READINGS.name, m.encode(batch))), monkeypatch)
    assert feed.units["u"].temperature_c == 4.0
