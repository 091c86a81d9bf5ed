"""Topics at a real broker: made, altered, and refused where partitions differ."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias

import pytest
from msgspec.structs import replace

from broker.topics import BrokerUnreachableError, Did, TopicError, check_partitions, check_topics, create_topics
from schemas.topics import ALERTS, READINGS, TOPICS, UNITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conftest import Kafka

    Settings: TypeAlias = Mapping[str, str | int | float | bool]


@pytest.fixture
def settings(kafka: Kafka) -> Settings:
    return {"bootstrap.servers": kafka.bootstrap}


@pytest.fixture
def prefix() -> str:
    return f"a{uuid.uuid4().hex[:8]}."


@pytest.mark.broker
def test_topics_are_made_as_declared_and_a_second_run_changes_nothing(settings: Settings, prefix: str) -> None:
    assert {change.did for change in create_topics(settings, prefix=prefix)} == {Did.CREATED}
    assert check_topics(settings, prefix=prefix) == []
    assert {change.did for change in create_topics(settings, prefix=prefix)} == {Did.LEFT}
    check_partitions(settings, TOPICS, prefix=prefix)


@pytest.mark.broker
def test_a_setting_that_differs_is_told_and_set(settings: Settings, prefix: str) -> None:
    create_topics(settings, prefix=prefix, topics=[replace(READINGS, retention_ms=1_000), UNITS])
    [problem] = check_topics(settings, prefix=prefix, topics=[READINGS, UNITS])
    assert problem == (
        f"topic {prefix}readings: retention.ms is 1000, declared {READINGS.retention_ms};"
        " run `freshtrack topics create`"
    )
    altered, left = create_topics(settings, prefix=prefix, topics=[READINGS, UNITS])
    assert str(altered) == f"{prefix}readings: altered (retention.ms: 1000 → {READINGS.retention_ms})"
    assert left.did is Did.LEFT
    assert check_topics(settings, prefix=prefix, topics=[READINGS, UNITS]) == []


@pytest.mark.broker
@pytest.mark.parametrize("declared", [2, 8])
def test_another_partition_count_is_refused_with_found_wanted_and_a_way_out(
    settings: Settings, prefix: str, declared: int
) -> None:
    create_topics(settings, prefix=prefix, topics=[ALERTS])
    [change] = create_topics(settings, prefix=prefix, topics=[replace(ALERTS, partitions=declared)])
    says = rf"topic {prefix}alerts: it has 4 partitions, declared are {declared}; .*run `freshtrack topics create`"
    assert change.did is Did.REFUSED
    with pytest.raises(TopicError, match=says):
        check_partitions(settings, [replace(ALERTS, partitions=declared)], prefix=prefix)
    check_partitions(settings, [ALERTS], prefix=prefix)


@pytest.mark.broker
def test_a_missing_topic_is_refused(settings: Settings, prefix: str) -> None:
    with pytest.raises(TopicError, match=f"topic {prefix}alerts does not exist; run `freshtrack topics create`"):
        check_partitions(settings, [ALERTS], prefix=prefix)


@pytest.mark.broker
def test_two_that_make_the_topics_at_once_do_not_disturb_each_other(settings: Settings, prefix: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(create_topics, settings, prefix=prefix) for _ in range(2)]
        made = [change.topic for future in both for change in future.result() if change.did is Did.CREATED]
    assert sorted(made) == sorted(prefix + topic.name for topic in TOPICS)


def test_a_broker_that_does_not_answer_is_told_in_time() -> None:
    with pytest.raises(
        BrokerUnreachableError, match=r"no Kafka broker answered within 0\.3 s .*KAFKA_BOOTSTRAP_SERVERS"
    ):
        check_partitions({"bootstrap.servers": "127.0.0.1:1"}, TOPICS, time_limit_s=0.3)


def test_topic_names_are_unique_and_topics_that_meet_have_the_same_partitions() -> None:
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)
    for key in {topic.key for topic in TOPICS}:
        assert len({topic.partitions for topic in TOPICS if topic.key == key}) == 1, key
