"""Worker processes of one's own at the real broker, their topics, and what their group has committed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from confluent_kafka import Message

AWAY = {KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS}
ROOT = Path(__file__).resolve().parents[2]


def committed(bootstrap: str, group: str, partitions: list[TopicPartition]) -> list[TopicPartition]:
    """What a group has committed; nobody joins it.

    Not through the admin client: the test process crashed in its call for this while a coordinator was loading.
    """
    reader = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
    give_up = time.monotonic() + 20
    try:
        while True:
            try:
                return reader.committed(partitions, timeout=10)
            except KafkaException as error:
                # A coordinator that moves, or is being found for the first time.
                if error.args[0].code() not in AWAY or time.monotonic() > give_up:
                    raise
    finally:
        reader.close()


class Place:
    """A group name of its own, topics that begin with it, and a folder."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.folder = folder
        self.group = f"f{uuid.uuid4().hex[:10]}"
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self.log = folder / "worker.log"

    def topic(self, name: str, partitions: int = 1, **config: str) -> str:
        full = f"{self.group}-{name}"
        settings = {key.replace("_", "."): value for key, value in config.items()}
        for made in self.admin.create_topics([NewTopic(full, partitions, 1, config=settings)]).values():
            made.result()
        return full

    def produce(self, topic: str, values: Iterable[bytes], *, codec: str = "none") -> None:
        settings: dict[str, str | int | float | bool] = {
            "bootstrap.servers": self.bootstrap,
            "partitioner": "murmur2_random",
            "compression.codec": codec,
        }
        producer = Producer(settings)
        for number, value in enumerate(values):
            producer.produce(topic, key=b"%d" % number, value=value)
        assert producer.flush(30) == 0

    def committed(self, topic: str, partition: int = 0) -> int:
        (found,) = committed(self.bootstrap, self.group, [TopicPartition(topic, partition)])
        return max(0, found.offset)

    def read(self, topic: str, partitions: int = 1) -> list[Message]:
        """Everything in the topic, as a reader of committed records sees it."""
        settings: dict[str, str | int | float | bool] = {
            "bootstrap.servers": self.bootstrap,
            "group.id": "reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
        consumer = Consumer(settings)
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(partitions)])
        found: list[Message] = []
        ended = 0
        while ended < partitions:
            for message in consumer.consume(1_000, 1.0):
                error = message.error()
                if error is None:
                    found.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended += 1
        consumer.close()
        return found

    def length(self, topic: str, partitions: int = 1) -> int:
        """How many records the topic got, without reading them."""
        wanted = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(partitions)}  # type: ignore[no-untyped-call]
        return sum(found.result().offset for found in self.admin.list_offsets(wanted).values())

    @contextmanager
    def worker(
        self, script: str | Path, job: msgspec.Struct, *, number: int = 0, environment: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """`tests/faults/<script>`, or a script by its path, with the job as its argument; what still runs is killed."""
        settings = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "KAFKA_TOPIC_PREFIX": "",
            "DATA_DIR": str(self.folder / f"data-{number}"),
            "COMMIT_INTERVAL_S": "0.2",
            "SESSION_TIMEOUT_S": "6",
            "FREEZE_LIMIT_S": "4.8",
            **(environment or {}),
        }
        command = [sys.executable, str(ROOT / "tests/faults" / script), msgspec.json.encode(job).decode()]
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, env=settings, stdout=log, stderr=log)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
