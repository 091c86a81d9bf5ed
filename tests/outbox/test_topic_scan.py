"""Reading what a topic holds ends in words when it cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.settings import KafkaSettings
from outbox.topic_scan import TopicReadError, scan
from schemas.topics import SMS_DLQ

if TYPE_CHECKING:
    from tests.conftest import Kafka

pytestmark = pytest.mark.broker


def test_a_topic_that_does_not_exist_or_is_not_read_in_time_says_so(kafka: Kafka) -> None:
    with pytest.raises(TopicReadError, match="run `freshtrack topics create`"):
        list(scan(KafkaSettings(bootstrap_servers=kafka.bootstrap, topic_prefix="nobodys."), SMS_DLQ))
    with pytest.raises(TopicReadError, match="is the broker up"):
        list(scan(KafkaSettings(bootstrap_servers="127.0.0.1:1"), SMS_DLQ, limit_s=0.2))
