"""A source topic whose records are summed up by key in the table of a storm's workers, and the sums that are right."""

from __future__ import annotations

import random
import threading
import uuid
from collections import defaultdict
from typing import TYPE_CHECKING

from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from tests.faults.growth_process import SOURCE, WORKER
from tests.faults.storm_worker import Job, State, decode
from tests.faults.workers import Place

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Eventually

KEYS = 60


class SummingPlace(Place):
    """`partitions` is what the source has now, and so the table."""

    def __init__(
        self, bootstrap: str, folder: Path, eventually: Eventually, *, partitions: int = 4, copies: int = 1
    ) -> None:
        super().__init__(bootstrap, folder)
        self.prefix = f"g{uuid.uuid4().hex[:8]}."
        self.group = self.prefix + WORKER
        self.source = self.prefix + SOURCE
        self.partitions = partitions
        self.truth: defaultdict[bytes, State] = defaultdict(State)
        self.eventually = eventually
        self._rng = random.Random(12)
        self.admin.create_topics([NewTopic(self.source, partitions, copies)])[self.source].result(30)

    @property
    def sent(self) -> int:
        return sum(state.count for state in self.truth.values())

    def send(self, count: int, *, until: threading.Event | None = None, pause_s: float = 0.0) -> None:
        """So many records, or fewer if `until` is set before; idempotent, so that none is written twice."""
        settings: dict[str, str | int | float | bool] = {
            "bootstrap.servers": self.bootstrap,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
        }
        producer = Producer(settings)
        pause = threading.Event() if until is None else until
        for _ in range(count):
            if until is not None and until.is_set():
                break
            key, value = b"k%d" % self._rng.randrange(KEYS), self._rng.randrange(1_000)
            producer.produce(self.source, key=key, value=str(value))
            self.truth[key].count += 1
            self.truth[key].total += value
            producer.poll(0)
            if pause_s:
                pause.wait(pause_s)
        assert producer.flush(120) == 0

    def job(self, lines: str, *, pause_s: float = 0.1) -> Job:
        return Job(
            self.group, self.source, str(self.folder / lines), max_batch=40, pause_s=pause_s, partitions=self.partitions
        )

    def sums(self) -> dict[bytes, tuple[int, int]]:
        """By key, what the table says: the value that contains most."""
        best: dict[bytes, State] = {}
        for message in self.read(f"{self.group}-sums-changelog", self.partitions):
            key, value = message.key(), message.value()
            if value is None:
                continue
            assert isinstance(key, bytes)
            state = decode(value)
            if key not in best or state.fence >= best[key].fence:
                best[key] = state
        return {key: (state.count, state.total) for key, state in best.items()}

    def done(self) -> int:
        return sum(count for count, _ in self.sums().values())

    def judge(self) -> None:
        """Every record counts, and counts once."""
        assert self.sums() == {key: (state.count, state.total) for key, state in self.truth.items()}
