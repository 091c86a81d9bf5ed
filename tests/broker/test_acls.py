"""Access rights follow the declarations: one writer a topic, and no reader that the workers do not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from broker.acls import acls, commands
from broker.partition_counts import GROWING
from cli.__main__ import app
from schemas.processes import READS, WORKERS, WRITERS, Process, writers
from schemas.topic import Writer
from schemas.topics import TOPICS
from streams.digests import app as digests
from streams.notifications import app as notifications
from streams.recorder.routes import ROUTES

if TYPE_CHECKING:
    from schemas.topic import AnyTopic


def may(process: Process, operation: str, name: str) -> bool:
    return any(
        acl.process is process
        and operation in acl.operations
        and acl.kind == "topic"
        and (name.startswith(acl.name) if acl.prefixed else name == acl.name)
        for acl in acls()
    )


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_topic_is_written_by_those_that_its_declaration_names_and_nobody_else(topic: AnyTopic) -> None:
    assert {process for process in Process if may(process, "WRITE", topic.name)} == set(writers(topic))
    for process in writers(topic):
        assert process in topic.writer.value.replace("producers", "producer")


def test_every_writer_is_one_process_or_more() -> None:
    assert set(WRITERS) == set(Writer)


def test_numbers_of_people_are_read_by_those_who_reach_them_only() -> None:
    assert {process for process in Process if may(process, "READ", "contacts")} == {
        Process.NOTIFICATIONS,
        Process.DIGESTS,
    }


def test_workers_may_read_what_their_flows_read() -> None:
    assert set(notifications.FLOWS) <= set(READS[Process.NOTIFICATIONS])
    assert set(digests.FLOWS) <= set(READS[Process.DIGESTS])
    assert {route.topic.name for route in ROUTES} == {topic.name for topic in READS[Process.RECORDER]}


def test_a_worker_makes_its_changelogs_and_no_others() -> None:
    assert may(Process.DETECTION, "CREATE", "detection-unit-states-changelog")
    assert not may(Process.DETECTION, "WRITE", "notifications-sms-ledger-changelog")
    assert not may(Process.RECORDER, "CREATE", "readings")


def test_the_commands_are_those_of_kafkas_own_tool() -> None:
    lines = list(commands("broker:9092", prefix="eu.", before="freshtrack-"))
    assert (
        "kafka-acls.sh --bootstrap-server broker:9092 --command-config admin.properties --add --allow-principal"
        " User:freshtrack-detection --operation Write --operation Describe --topic eu.alerts"
    ) in lines
    done = CliRunner().invoke(app, ["topics", "acls", "--prefix", "eu."], catch_exceptions=False)
    assert len(done.output.splitlines()) == len(lines)


def test_who_asks_whether_topics_are_growing_may_see_it() -> None:
    for process in (Process.PRODUCER, *WORKERS):
        assert may(process, "DESCRIBE", GROWING)
