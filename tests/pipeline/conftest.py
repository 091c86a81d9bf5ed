"""A real broker, topics of one's own for each test, and real worker processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from broker.partition_counts import PartitionCounts
from broker.topics import create_topics
from domain.personal_data import unmasked
from local.mailbox.client import MailboxProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from confluent_kafka import Message

ROOT = Path(__file__).resolve().parents[2]
PARTITIONS = 4


class HasBootstrap(Protocol):
    @property
    def bootstrap(self) -> str: ...


class Space:
    """Topics under a prefix of their own at one broker."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.folder = folder
        self.prefix = f"t{uuid.uuid4().hex[:8]}."
        create_topics({"bootstrap.servers": bootstrap}, prefix=self.prefix, partitions=PartitionCounts(PARTITIONS))
        self.producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "enable.idempotence": True,
            },
        )

    @property
    def environment(self) -> dict[str, str]:
        return {"KAFKA_BOOTSTRAP_SERVERS": self.bootstrap, "KAFKA_TOPIC_PREFIX": self.prefix}

    def topic(self, name: str) -> str:
        return self.prefix + name

    def send(self, topic: str, key: str | None, value: bytes | None) -> None:
        self.producer.produce(self.topic(topic), key=key, value=value)
        self.producer.poll(0)

    def flush(self) -> None:
        assert self.producer.flush(20) == 0

    def read(self, topic: str) -> list[Message]:
        """Everything that the topic holds now, partition by partition, as a reader of committed records sees it."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "reader",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 20,
            },
        )
        try:
            name = self.topic(topic)
            partitions = consumer.list_topics(name, timeout=10).topics[name].partitions
            consumer.assign([TopicPartition(name, number, 0) for number in partitions])
            found: list[Message] = []
            open_partitions = set(partitions)
            while open_partitions:
                message = consumer.poll(10)
                assert message is not None, f"no answer about {name} within 10 s"
                if (error := message.error()) is None:
                    found.append(message)
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, str(error)
                    open_partitions.discard(message.partition())
            return found
        finally:
            consumer.close()


class Worker:
    """One `freshtrack worker NAME` process."""

    def __init__(
        self, name: str, space: Space, number: int, environment: Mapping[str, str], *, module: str = "cli"
    ) -> None:
        self.name = name
        self.log = space.folder / f"{name}-{number}.log"
        self._command = [sys.executable, "-m", module, "worker", name]
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DATA_DIR": str(space.folder / f"data-{number}"),
            **space.environment,
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Worker:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        return self

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def end(self, how: signal.Signals = signal.SIGTERM, limit_s: float = 30) -> int:
        """Send the signal and wait; what does not end in time is killed and fails the test."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise AssertionError(f"worker {self.name} did not end within {limit_s} s, see {self.log}") from None

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def kill_if_running(self) -> None:
        if self.running():
            self.kill()


@pytest.fixture
def space(kafka: HasBootstrap, tmp_path: Path) -> Space:
    return Space(kafka.bootstrap, tmp_path)


@pytest.fixture
def start_worker(space: Space) -> Iterator[Callable[..., Worker]]:
    """`start_worker("detection", METRICS_PORT="0")`: a running worker that is ended after the test."""
    workers: list[Worker] = []
    with ExitStack() as stack:
        count = 0

        def start(name: str, *, module: str = "cli", **environment: str) -> Worker:
            nonlocal count
            count += 1
            worker = Worker(name, space, count, environment, module=module)
            worker.start()
            stack.callback(worker.kill_if_running)
            workers.append(worker)
            return worker

        yield start
    for worker in workers:
        assert unmasked(worker.log.read_text(errors="replace")) == [], f"whole numbers or addresses in {worker.log}"


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[MailboxProcess]:
    """An SMTP server that keeps what it gets."""
    with MailboxProcess(tmp_path) as running:
        yield running
