"""Topics at a real broker: made, altered, and refused where partitions differ."""

from __future__ import annotations

import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias

import pytest
from msgspec.structs import replace

from broker.partition_counts import BrokerUnreachableError, PartitionCounts, TopicError, check_partitions
from broker.topics import Did, check_topics, create_topics
from schemas.topics import ALERTS, CO_PARTITIONED, READINGS, SMS_RETRIES, TOPICS, UNIT_AGGREGATES, UNITS
from streams.digests import app as digests
from streams.notifications import app as notifications

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conftest import Eventually, Kafka

    Settings: TypeAlias = Mapping[str, str | int | float | bool]


@pytest.fixture
def settings(kafka: Kafka) -> Settings:
    return {"bootstrap.servers": kafka.bootstrap}


@pytest.fixture
def prefix() -> str:
    return f"a{uuid.uuid4().hex[:8]}."


@pytest.mark.broker
def test_topics_are_made_as_declared_and_a_second_run_changes_nothing(settings: Settings, prefix: str) -> None:
    made = create_topics(settings, prefix=prefix, partitions=PartitionCounts(2))
    assert {change.did for change in made} == {Did.CREATED}
    assert check_topics(settings, prefix=prefix) == []
    assert {change.did for change in create_topics(settings, prefix=prefix)} == {Did.LEFT}
    assert set(check_partitions(settings, prefix=prefix).values()) == {2}


@pytest.mark.broker
def test_a_setting_that_differs_is_told_and_set(settings: Settings, prefix: str, eventually: Eventually) -> None:
    create_topics(settings, prefix=prefix, topics=[replace(READINGS, retention_ms=1_000), UNITS])
    [problem] = check_topics(settings, prefix=prefix, topics=[READINGS, UNITS])
    assert problem == (
        f"topic {prefix}readings: retention.ms is 1000, declared {READINGS.retention_ms};"
        " run `freshtrack topics create`"
    )
    altered, left = create_topics(settings, prefix=prefix, topics=[READINGS, UNITS])
    assert str(altered) == f"{prefix}readings: altered (retention.ms: 1000 → {READINGS.retention_ms})"
    assert left.did is Did.LEFT
    # A broker may tell the former value for a moment.
    eventually(lambda: check_topics(settings, prefix=prefix, topics=[READINGS, UNITS]) == [], within_s=10)


@pytest.mark.broker
def test_a_deployment_chooses_the_counts_and_a_new_topic_takes_that_of_those_it_meets(
    settings: Settings, prefix: str
) -> None:
    chosen = PartitionCounts(5, {"readings": 3})
    create_topics(settings, prefix=prefix, topics=[READINGS, ALERTS], partitions=chosen)
    create_topics(settings, prefix=prefix, topics=[UNIT_AGGREGATES, UNITS, SMS_RETRIES])
    assert check_partitions(settings, [READINGS, UNIT_AGGREGATES, ALERTS, SMS_RETRIES, UNITS], prefix=prefix) == {
        "readings": 3,
        "unit-aggregates": 3,
        "alerts": 5,
        "sms-retries": 5,
        "units": UNITS.partitions,
    }


@pytest.mark.broker
@pytest.mark.parametrize(
    ("asked", "way_out"), [(8, "run `freshtrack topics grow 8`"), (2, "partitions cannot be taken away, keep 4")]
)
def test_another_count_than_asked_for_is_left_and_told_with_a_way_out(
    settings: Settings, prefix: str, asked: int, way_out: str
) -> None:
    create_topics(settings, prefix=prefix, topics=[ALERTS], partitions=PartitionCounts(4))
    [change] = create_topics(settings, prefix=prefix, topics=[ALERTS], partitions=PartitionCounts(asked))
    assert change.did is Did.REFUSED
    assert f"it has 4 partitions, asked for are {asked}; " in change.detail
    assert way_out in change.detail
    assert check_partitions(settings, [ALERTS], prefix=prefix) == {"alerts": 4}


@pytest.mark.broker
def test_topics_that_meet_with_different_counts_are_refused_by_name_and_count(settings: Settings, prefix: str) -> None:
    create_topics(settings, prefix=prefix, topics=[READINGS, UNITS], partitions=PartitionCounts(4))
    create_topics(settings, prefix=prefix, topics=[UNIT_AGGREGATES], partitions=PartitionCounts(12))
    says = (
        f"worker detection must have the same number of partitions: {prefix}readings has 4,"
        f" {prefix}unit-aggregates has 12; stop all processes and run `freshtrack topics grow 12`"
    )
    with pytest.raises(TopicError, match=re.escape(says)):
        check_partitions(settings, [READINGS, UNIT_AGGREGATES], prefix=prefix)
    assert check_topics(settings, prefix=prefix, topics=[READINGS, UNIT_AGGREGATES])[0].endswith(says)
    check_partitions(settings, [READINGS, UNITS], prefix=prefix)


@pytest.mark.parametrize(
    ("by_topic", "says"),
    [
        ({"readings": 8, "unit-silences": 4}, "readings=8, unit-silences=4: these topics meet in one worker"),
        ({"reading": 8}, "there is no topic reading"),
    ],
)
def test_counts_that_cannot_be_meant_are_refused(by_topic: dict[str, int], says: str) -> None:
    with pytest.raises(TopicError, match=says):
        PartitionCounts(None, by_topic).chosen(READINGS)


@pytest.mark.broker
def test_a_missing_topic_is_refused(settings: Settings, prefix: str) -> None:
    with pytest.raises(TopicError, match=f"topic {prefix}alerts does not exist; run `freshtrack topics create`"):
        check_partitions(settings, [ALERTS], prefix=prefix)


@pytest.mark.broker
def test_two_that_make_the_topics_at_once_do_not_disturb_each_other(settings: Settings, prefix: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(create_topics, settings, prefix=prefix, partitions=PartitionCounts(2)) for _ in range(2)]
        made = [change.topic for future in both for change in future.result() if change.did is Did.CREATED]
    assert sorted(made) == sorted(prefix + topic.name for topic in TOPICS)


def test_a_broker_that_does_not_answer_is_told_in_time() -> None:
    with pytest.raises(
        BrokerUnreachableError, match=r"no Kafka broker answered within 0\.3 s .*KAFKA_BOOTSTRAP_SERVERS"
    ):
        check_partitions({"bootstrap.servers": "127.0.0.1:1"}, TOPICS, time_limit_s=0.3)


def test_topic_names_are_unique_and_all_flows_of_a_worker_with_tables_are_co_partitioned() -> None:
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)
    assert set(notifications.FLOWS) == set(CO_PARTITIONED["notifications"])
    assert set(digests.FLOWS) == set(CO_PARTITIONED["digests"])
