"""Several embedded brokers as one cluster: replication, leaders that move, brokers that go while others stay.

The settings are those of production: three copies of each partition, and a write counts when two of them have it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from local.kafka import EmbeddedKafka
from local.ports import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

BROKERS = 3
REPLICATION = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
}


class EmbeddedCluster:
    """Three brokers, each a controller as well, with their data below `folder`; `extra` is for all of them."""

    def __init__(self, folder: Path, *, extra: Mapping[str, str] | None = None, heap: str = "320m") -> None:
        controllers = [free_port() for _ in range(BROKERS)]
        voters = ",".join(f"{number}@{LOOPBACK}:{port}" for number, port in enumerate(controllers, 1))
        self.brokers = tuple(
            EmbeddedKafka(
                folder / f"broker-{number}",
                controller_port=port,
                extra=REPLICATION | dict(extra or {}) | {"node.id": str(number), "controller.quorum.voters": voters},
                heap=heap,
            )
            for number, port in enumerate(controllers, 1)
        )

    @property
    def bootstrap(self) -> str:
        """All brokers, so that a client finds the cluster while one of them is away."""
        return ",".join(broker.bootstrap for broker in self.brokers)

    def start(self) -> Self:
        """Start all brokers and wait until each answers; raises KafkaDidNotStartError, and leaves none running."""
        try:
            # Side by side: a broker answers only once most controllers are there.
            self._each(lambda broker: broker.start())
        except BaseException:
            self._each(lambda broker: broker.kill())
            raise
        return self

    def stop(self) -> None:
        """End all brokers. Side by side: the last one alone could not end in good order."""
        self._each(lambda broker: broker.stop())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _each(self, what: Callable[[EmbeddedKafka], object]) -> None:
        with ThreadPoolExecutor(len(self.brokers)) as pool:
            list(pool.map(what, self.brokers))
