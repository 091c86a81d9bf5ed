"""`topics grow` between storms, and killed itself: every record counts once, whatever the number of partitions."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import uuid
from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from broker.partition_counts import TopicError, check_partitions
from tests.faults.growth_process import SOURCE, WORKER, Growth
from tests.faults.storm_worker import Job, State, decode
from tests.faults.workers import ROOT, Place

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Eventually, Kafka

pytestmark = pytest.mark.broker

KEYS = 60
# What the command tells: planned, partitions added, moved but not committed, committed, verified, deleted, done.
EVERY_STEP = (1, 2, 3, 1, 2)
FORMER, SECOND, THIRD = 4, 12, 32


class GrowingPlace(Place):
    """A source topic whose records are summed up by key, and the sums that are right."""

    def __init__(self, bootstrap: str, folder: Path, eventually: Eventually) -> None:
        super().__init__(bootstrap, folder)
        self.prefix = f"g{uuid.uuid4().hex[:8]}."
        self.group = self.prefix + WORKER
        self.source = self.prefix + SOURCE
        self.partitions = FORMER
        self.truth: defaultdict[bytes, State] = defaultdict(State)
        self._eventually = eventually
        self._rng = random.Random(12)
        self.admin.create_topics([NewTopic(self.source, FORMER, 1)])[self.source].result()

    def send(self, count: int) -> None:
        settings: dict[str, str | int | float | bool] = {
            "bootstrap.servers": self.bootstrap,
            "partitioner": "murmur2_random",
        }
        producer = Producer(settings)
        for _ in range(count):
            key, value = b"k%d" % self._rng.randrange(KEYS), self._rng.randrange(1_000)
            producer.produce(self.source, key=key, value=str(value))
            self.truth[key].count += 1
            self.truth[key].total += value
        assert producer.flush(30) == 0

    def job(self, lines: str) -> Job:
        return Job(
            self.group, self.source, str(self.folder / lines), max_batch=40, pause_s=0.1, partitions=self.partitions
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

    def storm(self, enough: int) -> None:
        """Two workers, of which one and then the other is killed when so many records are in the table."""
        with (
            self.worker("storm_worker.py", self.job("a"), number=0) as first,
            self.worker("storm_worker.py", self.job("b"), number=1) as second,
        ):
            self._eventually(lambda: self.done() >= enough // 2, within_s=60, every_s=0.1, what="some to be counted")
            first.send_signal(signal.SIGKILL)
            self._eventually(lambda: self.done() >= enough, within_s=60, every_s=0.1, what="more to be counted")
            second.send_signal(signal.SIGKILL)

    def drain(self) -> None:
        """One last worker, with a data folder from before the growth."""
        sent = sum(state.count for state in self.truth.values())
        with self.worker("storm_worker.py", self.job("c"), number=0) as worker:
            self._eventually(lambda: self.done() >= sent, within_s=90, every_s=0.5, what="all to be counted")
            worker.terminate()
            assert worker.wait(40) == 0

    def grow(self, partitions: int, dies_after: int = 0) -> subprocess.Popen[str]:
        growth = Growth(self.bootstrap, self.prefix, partitions, dies_after=dies_after)
        command = [sys.executable, "-m", "tests.faults.growth_process", msgspec.json.encode(growth).decode()]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def grown(self, partitions: int) -> None:
        """Bring a growth to its end, once the killed workers are out of their group."""

        def ended() -> bool:
            growth = self.grow(partitions)
            out, err = growth.communicate(timeout=90)
            assert growth.returncode == 0 or "active: " in err, out + err
            return growth.returncode == 0

        self._eventually(ended, within_s=90, every_s=0.5, what=f"{partitions} partitions")
        self.partitions = partitions

    def unfinished(self) -> bool:
        """Whether a worker would refuse to start."""
        try:
            check_partitions({"bootstrap.servers": self.bootstrap}, [], prefix=self.prefix)
        except TopicError:
            return True
        return False


@pytest.mark.parametrize(
    ("deaths", "random_deaths"),
    [((2, 3), 0), pytest.param(EVERY_STEP, 6, marks=pytest.mark.long)],
    ids=["short", "long"],
)
def test_growing_while_killed_keeps_every_sum_exact_and_no_worker_starts_before_its_end(
    deaths: tuple[int, ...], random_deaths: int, kafka: Kafka, tmp_path: Path, eventually: Eventually
) -> None:
    place = GrowingPlace(kafka.bootstrap, tmp_path, eventually)
    place.send(1_500)
    place.storm(enough=500)
    assert place.done() < 1_500, "too fast for this test: nothing is left unread"
    out, err = place.grow(SECOND).communicate(timeout=60)
    assert "active: " in err, f"a worker killed a moment ago is still in its group: {out}{err}"
    eventually(lambda: "planned" in place.grow(SECOND, dies_after=1).communicate(timeout=60)[0], within_s=60)
    for dies_after in deaths:
        growth = place.grow(SECOND, dies_after)
        out, err = growth.communicate(timeout=90)
        assert growth.returncode == -signal.SIGKILL, out + err
        assert place.unfinished()
    place.grown(SECOND)
    assert not place.unfinished()
    place.send(500)
    if random_deaths:
        place.storm(enough=1_700)
    rng = random.Random(32)
    for _ in range(random_deaths):
        growth = place.grow(THIRD)
        try:
            growth.wait(rng.uniform(1, 5))
        except subprocess.TimeoutExpired:
            growth.kill()
        growth.communicate(timeout=60)
    if random_deaths:
        place.grown(THIRD)
        place.send(500)
    place.drain()
    assert place.sums() == {key: (state.count, state.total) for key, state in place.truth.items()}
