"""A real Apache Kafka broker without Docker or an installed Java: jars from a Maven repository, Java from a wheel."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from local.jars import kafka_jars
from local.kafka_command import KafkaDidNotStartError, Question, java_command, own_data, write_properties
from local.ports import LOOPBACK, free_port, is_free
from local.processes import OwnedProcess
from local.rehearsal import rehearsed

if TYPE_CHECKING:
    from collections.abc import Mapping


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
        controller_port: int | None = None,
        extra: Mapping[str, str] | None = None,
        heap: str = "512m",
    ) -> None:
        self.folder = folder.absolute()
        self.log = self.folder / "broker.log"
        self._extra = dict(extra or {})
        self._heap = heap
        self._port = port or free_port()
        self._controller_port = controller_port or free_port()
        self._process: OwnedProcess | None = None
        self._question: Question | None = None

    @property
    def bootstrap(self) -> str:
        """What clients connect to: `host:port`."""
        return f"{LOOPBACK}:{self._port}"

    @property
    def pid(self) -> int:
        """The running broker's process id."""
        return self._running().pid

    def command(self) -> list[str]:
        """The command line of the broker, for a caller with its own supervisor; creates the data folder if it is new.

        The first one on a machine fetches Kafka's jars and rehearses. Raises JarsUnavailableError,
        KafkaDidNotStartError.
        """
        for port in (self._port, self._controller_port):
            if not is_free(port):
                raise KafkaDidNotStartError(f"Kafka cannot listen on {LOOPBACK}:{port}: the port is in use")
        jars = kafka_jars()
        rehearsal = rehearsed(jars)
        properties = write_properties(self.folder, self._port, self._controller_port, self._extra)
        data = self.folder / "data"
        if not data.exists():
            # Renamed when complete, so that a start that was cut off leaves nothing half made.
            with tempfile.TemporaryDirectory(dir=self.folder, prefix=".data-") as scratch:
                copied = shutil.copytree(rehearsal.formatted, Path(scratch) / "data")
                own_data(copied, self._extra.get("node.id", "1"))
                copied.rename(data)
        return [*java_command(jars, f"-Xmx{self._heap}", *rehearsal.options), "kafka.Kafka", str(properties)]

    def answers(self) -> bool:
        """Whether the broker answers a metadata request now, not only a connection; waits 0.25 s for it."""
        if self._question is None:
            self._question = Question(self.bootstrap)
        if not self._question.answered():
            return False
        self._question = None
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

    def _wait_for_answer(self, process: OwnedProcess, deadline: float, timeout_s: float) -> None:
        while not self.answers():
            if (code := process.ended()) is not None:
                raise KafkaDidNotStartError(self._account(f"ended with {code} at its start"))
            if time.monotonic() > deadline:
                raise KafkaDidNotStartError(self._account(f"gave no answer on {self.bootstrap} within {timeout_s} s"))

    def _account(self, what: str) -> str:
        return f"Kafka {what}; {self.log} ends:\n{self._running().last_lines()}"
