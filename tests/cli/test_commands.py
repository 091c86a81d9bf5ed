"""`replay`, `simulate` and `topics`, as a person runs them, at a real broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from producers.demo_fleet import demo_fleet
from schemas.messages import ReadingBatch
from schemas.topics import DIGEST_PREFERENCES, READINGS, TOPICS

if TYPE_CHECKING:
    from schemas.topic import AnyTopic
    from tests.conftest import Eventually, Kafka

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")
pytestmark = pytest.mark.broker


class Commands:
    """The command line against a broker, with topics under a prefix of their own."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.prefix = f"c{uuid.uuid4().hex[:8]}."
        self.environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "KAFKA_TOPIC_PREFIX": self.prefix,
            "COLUMNS": "400",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "cli", *arguments],
            cwd=ROOT,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def records(self, topic: AnyTopic, kind: type[T]) -> list[tuple[str, T]]:
        """Every record of a topic: key and value."""
        return [(key.decode(), msgspec.json.decode(value or b"", type=kind)) for key, value in self.rows(topic)]

    def rows(self, topic: AnyTopic) -> list[tuple[bytes, bytes | None]]:
        consumer = Consumer(
            {"bootstrap.servers": self.bootstrap, "group.id": "none", "enable.partition.eof": True},
        )
        name = self.prefix + topic.name
        partitions = consumer.list_topics(name, timeout=30).topics[name].partitions
        consumer.assign([TopicPartition(name, number, OFFSET_BEGINNING) for number in partitions])
        found: list[tuple[bytes, bytes | None]] = []
        ended = 0
        while ended < len(partitions):
            record = consumer.poll(30)
            assert record is not None
            if record.error():
                ended += 1
            else:
                found.append((record.key() or b"", record.value()))
        consumer.close()
        return found


@pytest.fixture
def command(kafka: Kafka) -> Commands:
    commands = Commands(kafka.bootstrap)
    assert commands("topics", "create", "--partitions", "2")[0] == 0
    return commands


def test_topics_are_made_once_and_checked(kafka: Kafka) -> None:
    commands = Commands(kafka.bootstrap)
    code, out, _ = commands("topics", "check")
    assert code == 1
    assert out.count("does not exist; run `freshtrack topics create`") == len(TOPICS)
    assert commands("topics", "create", "--partitions", "2")[1].count("created") == len(TOPICS)
    assert commands("topics", "create", "--partitions", "2")[1].count("left as it is") == len(TOPICS)
    assert commands("topics", "check")[1] == f"all {len(TOPICS)} topics are as declared\n"


def test_topics_grow_and_a_preference_is_found_once_in_its_new_partition(command: Commands) -> None:
    producer = Producer({"bootstrap.servers": command.bootstrap, "partitioner": "murmur2_random"})
    name = command.prefix + DIGEST_PREFERENCES.name
    for number in range(20):
        for version in (b"old", b"new"):
            producer.produce(name, key=f"user-{number}", value=version)
    producer.produce(name, key="user-0", value=None)
    assert producer.flush(30) == 0
    code, out, err = command("topics", "grow", "3")
    assert code == 0, err
    assert out.endswith("done: 3 partitions\n")
    assert command("topics", "check")[0] == 0
    rows = command.rows(DIGEST_PREFERENCES)
    assert len(rows) == 20
    assert dict(rows) == {f"user-{number}".encode(): b"new" for number in range(1, 20)} | {b"user-0": None}
    assert command("topics", "grow", "3")[1] == "everything has 3 partitions or more\n"


def test_too_many_copies_for_the_brokers_are_refused_in_one_sentence(kafka: Kafka) -> None:
    code, _, err = Commands(kafka.bootstrap)("topics", "create", "--replication-factor", "9")
    assert code == 1
    assert err.startswith("the broker refused: ")
    assert "Traceback" not in err


def test_a_file_is_replayed_and_its_bad_lines_are_told(command: Commands, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("time,temp\n2026-01-31T08:01:00Z,46.4\n2026-01-31T08:00:00Z,41\nsoon,39\n")
    code, out, err = command("replay", str(log), "--unit", "acme/fridge-9", "--fahrenheit")
    assert code == 1
    assert "sent 2 messages, 2 acknowledged" in out
    assert "1 bad lines" in out
    assert f"{log}:4: time 'soon'" in err
    assert [(key, batch.readings[0].temperature_c) for key, batch in command.records(READINGS, ReadingBatch)] == [
        ("acme/fridge-9", 5.0),
        ("acme/fridge-9", 8.0),
    ]


def test_a_paced_replay_stamps_the_present(command: Commands, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("time,temp\n1700000000,4\n1700000010,5\n1700000020,6\n")
    code, out, _ = command("replay", str(log), "--unit", "acme/fridge-9", "--speed", "100")
    batches = [batch for _, batch in command.records(READINGS, ReadingBatch)]
    assert code == 0, out
    assert [b.readings[0].at_ms - batches[0].readings[0].at_ms for b in batches] == [0, 100, 200]
    assert batches[0].readings[0].at_ms > 1_750_000_000_000


def test_a_simulated_fleet_is_measured(command: Commands) -> None:
    code, out, _ = command("simulate", "--duration-s", "1", "--interval-s", "0.1")
    fleet = demo_fleet()
    assert code == 0
    assert out == "sent 120 messages, 120 acknowledged, of 12 units\n"
    assert {key for key, _ in command.records(READINGS, ReadingBatch)} == {unit.unit_id for unit in fleet.units}


def test_a_signal_ends_the_simulation_in_good_order(command: Commands, eventually: Eventually) -> None:
    with command.start("simulate") as process:
        eventually(lambda: command.records(READINGS, ReadingBatch), within_s=30, every_s=0.1, what="a first reading")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "acknowledged, of 12 units" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--timezone", "Mars/Olympus"), "is not an IANA zone; write one like Europe/Berlin"),
        (("--time-column", "when"), "has no column 'when'; it has time, temp: name one with --time-column"),
        ((), "has no usable reading (1 bad lines)"),
        (("--timezone", "Europe/Berlin", "--high", "5"), "Set FRESHTRACK_API_KEY to a key of `freshtrack key create`"),
    ],
)
def test_a_replay_that_cannot_be_says_why_in_one_sentence(
    kafka: Kafka, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    log = tmp_path / "log.csv"
    log.write_text("time,temp\n2026-01-31T08:00:00,4\n")
    code, _, err = Commands(kafka.bootstrap)("replay", str(log), "--unit", "acme/u", *arguments)
    assert code == 1
    assert says in err
    assert "Traceback" not in err


def test_a_broker_that_does_not_answer_is_told_in_one_sentence() -> None:
    code, _, err = Commands("127.0.0.1:1")("topics", "check", "--time-limit-s", "1")
    assert code == 1
    assert "no Kafka broker answered within 1 s" in err
    assert "Traceback" not in err
