"""The tests' broker in a container, where a Docker engine answers: the image that `docker-compose.kafka.yml` runs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import docker
from docker.errors import DockerException
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.exceptions import ContainerStartException

from local.jars import KAFKA_VERSION
from local.kafka_command import Question
from local.ports import LOOPBACK, free_port

if TYPE_CHECKING:
    from contextlib import ExitStack

DOCKER_SOCKET = Path("/var/run/docker.sock")
IMAGE = f"apache/kafka:{KAFKA_VERSION}"
PORT = 9092
START_LIMIT_S = 60.0


class ContainedKafka(DockerContainer):  # type: ignore[misc]
    """One KRaft node, broker and controller, whose clients are on this machine.

    A broker tells its clients the address to use, so the port on this machine is chosen before the container starts.
    """

    def __init__(self, port: int) -> None:
        super().__init__(IMAGE)
        self.bootstrap = f"{LOOPBACK}:{port}"
        self.with_bind_ports(PORT, port)
        self.with_envs(
            KAFKA_NODE_ID="1",
            KAFKA_PROCESS_ROLES="broker,controller",
            KAFKA_LISTENERS=f"HOST://:{PORT},INTERNAL://:19092,CONTROLLER://:9093",
            KAFKA_ADVERTISED_LISTENERS=f"HOST://{self.bootstrap},INTERNAL://localhost:19092",
            KAFKA_LISTENER_SECURITY_PROTOCOL_MAP="HOST:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
            KAFKA_INTER_BROKER_LISTENER_NAME="INTERNAL",
            KAFKA_CONTROLLER_LISTENER_NAMES="CONTROLLER",
            KAFKA_CONTROLLER_QUORUM_VOTERS="1@localhost:9093",
            KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR="1",
            KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR="1",
            KAFKA_TRANSACTION_STATE_LOG_MIN_ISR="1",
            KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS="0",
            KAFKA_AUTO_CREATE_TOPICS_ENABLE="false",
        )

    def wait_for_answer(self, limit_s: float = START_LIMIT_S) -> None:
        """Raises TimeoutError when the broker gives no answer within `limit_s`."""
        question, deadline = Question(self.bootstrap), time.monotonic() + limit_s
        while not question.answered():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{IMAGE} gave no answer on {self.bootstrap} within {limit_s:g} s")


def contained_broker(stack: ExitStack) -> str | None:
    """A broker in a container that ends with `stack`; None where no Docker engine answers or it has no image."""
    if not docker_answers():
        return None
    # The container ends with this process's own `stack`; the library's reaper is one more image to fetch.
    testcontainers_config.ryuk_disabled = True
    try:
        container = stack.enter_context(ContainedKafka(free_port()))
        container.wait_for_answer()
    except (DockerException, ContainerStartException, TimeoutError):
        return None
    return str(container.bootstrap)


def docker_answers() -> bool:
    """Whether a Docker engine answers within two seconds."""
    if not (DOCKER_SOCKET.exists() or os.environ.get("DOCKER_HOST")):
        return False
    try:
        client = docker.from_env(timeout=2)
    except DockerException:
        return False
    try:
        return bool(client.ping())
    except (DockerException, OSError):
        return False
    finally:
        client.close()
