"""Reading what a topic holds: the records of a key where every producer of ours puts them, and errors in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.settings import KafkaSettings
from outbox.topic_scan import TopicReadError, scan
from producers.kafka import KafkaProducer
from schemas.topics import SMS_DLQ, SMS_INFO

if TYPE_CHECKING:
    from tests.conftest import Kafka

pytestmark = pytest.mark.broker


@pytest.mark.broker
def test_a_key_is_looked_for_where_every_producer_puts_it(kafka_settings: KafkaSettings) -> None:
    users = [f"user-{number}".encode() for number in range(12)]
    with KafkaProducer(kafka_settings.librdkafka(), prefix=kafka_settings.topic_prefix) as producer:
        for user in users:
            producer.publish(SMS_INFO, user.decode(), b"{}", message_type="sms")
    seen = {user: {found.key for found in scan(kafka_settings, SMS_INFO, key=user.decode())} for user in users}
    assert all(user in keys for user, keys in seen.items())
    assert len({frozenset(keys) for keys in seen.values()}) == SMS_INFO.partitions
    assert {found.key for found in scan(kafka_settings, SMS_INFO)} == set(users)


def test_a_topic_that_does_not_exist_or_is_not_read_in_time_says_so(kafka: Kafka) -> None:
    with pytest.raises(TopicReadError, match="run `freshtrack topics create`"):
        list(scan(KafkaSettings(bootstrap_servers=kafka.bootstrap, topic_prefix="nobodys."), SMS_DLQ))
    with pytest.raises(TopicReadError, match="is the broker up"):
        list(scan(KafkaSettings(bootstrap_servers="127.0.0.1:1"), SMS_DLQ, limit_s=0.2))
