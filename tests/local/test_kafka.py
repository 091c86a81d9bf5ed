"""The embedded broker: up when it says so, with its data after a restart, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from local.kafka import EmbeddedKafka
from local.kafka_command import KafkaDidNotStartError
from local.ports import is_free

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Eventually

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka(tmp_path_factory.mktemp("own")) as running:
        yield running


def port_of(broker: EmbeddedKafka) -> int:
    return int(broker.bootstrap.rpartition(":")[2])


def send(broker: EmbeddedKafka, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all"})
    for value in values:
        producer.produce(topic, value=value, partition=0)
    assert producer.flush(10) == 0


def values_in(broker: EmbeddedKafka, topic: str, count: int) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "reader", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        return [message.value() for message in consumer.consume(count, timeout=10)]
    finally:
        consumer.close()


def create(broker: EmbeddedKafka, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    for done in admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)]).values():
        done.result(10)


def test_a_started_broker_answers_and_takes_messages_at_once(broker: EmbeddedKafka) -> None:
    create(broker, "first")
    send(broker, "first", [b"a", b"b"])
    assert values_in(broker, "first", 2) == [b"a", b"b"]


def test_a_stop_keeps_the_data_and_the_port(broker: EmbeddedKafka) -> None:
    create(broker, "kept")
    send(broker, "kept", [b"before"])
    before = broker.bootstrap
    broker.stop()
    assert is_free(port_of(broker))

    broker.start()

    assert broker.bootstrap == before
    send(broker, "kept", [b"after"])
    assert values_in(broker, "kept", 2) == [b"before", b"after"]


def test_a_killed_broker_comes_back_on_its_port_with_what_it_acknowledged(broker: EmbeddedKafka) -> None:
    create(broker, "survives")
    send(broker, "survives", [b"acknowledged"])
    broker.kill()
    assert is_free(port_of(broker))

    broker.start()

    send(broker, "survives", [b"later"])
    assert values_in(broker, "survives", 2) == [b"acknowledged", b"later"]


def test_start_on_a_running_broker_changes_nothing(broker: EmbeddedKafka) -> None:
    pid = broker.pid
    broker.start()
    assert broker.pid == pid


def test_a_broker_that_cannot_start_says_why(broker: EmbeddedKafka, tmp_path: Path) -> None:
    second = EmbeddedKafka(tmp_path / "second", port=port_of(broker))
    with pytest.raises(KafkaDidNotStartError, match="in use"):
        second.start(30)


def test_the_broker_ends_when_its_parent_is_killed(tmp_path: Path, eventually: Eventually) -> None:
    program = (
        "import sys, time; from pathlib import Path; from local.kafka import EmbeddedKafka\n"
        "broker = EmbeddedKafka(Path(sys.argv[1])).start(); print(broker.pid, broker.bootstrap, flush=True)\n"
        "sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        pid, bootstrap = parent.stdout.readline().split()
        assert Path(f"/proc/{pid}").exists() or sys.platform != "linux"
        parent.send_signal(signal.SIGKILL)
    eventually(lambda: is_free(int(bootstrap.rpartition(":")[2])), within_s=10, what="the broker is gone")
