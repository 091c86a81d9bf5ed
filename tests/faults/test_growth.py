"""`topics grow` between storms, and killed itself: every record counts once, whatever the number of partitions."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from confluent_kafka import Producer

from benchmarks.timers_worker import Job as TimersJob
from benchmarks.timers_worker import Order, encode
from broker.partition_counts import TopicError, check_partitions
from tests.faults.growth_process import Growth
from tests.faults.summing import SummingPlace
from tests.faults.workers import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Eventually, Kafka

pytestmark = pytest.mark.broker

# What the command tells: planned, partitions added, moved but not committed, committed, verified, deleted, done.
# More than two workers count before the second is killed.
FIRST = 4_000
EVERY_STEP = (1, 2, 3, 1, 2)
SECOND, THIRD = 12, 32
TIMERS = 400


class GrowingPlace(SummingPlace):
    """Storms, and growth between them."""

    def storm(self, enough: int) -> None:
        """Two workers, of which one and then the other is killed when so many records are in the table."""
        with (
            self.worker("storm_worker.py", self.job("a"), number=0) as first,
            self.worker("storm_worker.py", self.job("b"), number=1) as second,
        ):
            self.eventually(lambda: self.done() >= enough // 2, within_s=60, every_s=0.1, what="some to be counted")
            first.send_signal(signal.SIGKILL)
            self.eventually(lambda: self.done() >= enough, within_s=60, every_s=0.1, what="more to be counted")
            second.send_signal(signal.SIGKILL)

    def drain(self) -> None:
        """One last worker, with a data folder from before the growth."""
        with self.worker("storm_worker.py", self.job("c"), number=0) as worker:
            self.eventually(lambda: self.done() >= self.sent, within_s=90, every_s=0.5, what="all to be counted")
            worker.terminate()
            assert worker.wait(40) == 0

    def grow(self, partitions: int, dies_after: int = 0, *, timers: bool = False) -> subprocess.Popen[str]:
        growth = Growth(self.bootstrap, self.prefix, partitions, timers, dies_after)
        command = [sys.executable, "-m", "tests.faults.growth_process", msgspec.json.encode(growth).decode()]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def grown(self, partitions: int, *, timers: bool = False) -> None:
        """Bring a growth to its end, once the killed workers are out of their group."""

        def ended() -> bool:
            growth = self.grow(partitions, timers=timers)
            out, err = growth.communicate(timeout=90)
            assert growth.returncode == 0 or "active: " in err, out + err
            return growth.returncode == 0

        self.eventually(ended, within_s=90, every_s=0.5, what=f"{partitions} partitions")
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
    [((3,), 0), pytest.param(EVERY_STEP, 6, marks=pytest.mark.long)],
    ids=["short", "long"],
)
def test_growing_while_killed_keeps_every_sum_exact_and_no_worker_starts_before_its_end(
    deaths: tuple[int, ...], random_deaths: int, kafka: Kafka, tmp_path: Path, eventually: Eventually
) -> None:
    place = GrowingPlace(kafka.bootstrap, tmp_path, eventually)
    place.send(FIRST)
    place.storm(enough=300)
    assert place.done() < FIRST, "too fast for this test: nothing is left unread"
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
    place.send(200)
    if random_deaths:
        place.storm(enough=FIRST + 150)
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
    place.judge()


def test_pending_timers_grow_with_their_keys_and_each_fires_once(
    kafka: Kafka, tmp_path: Path, eventually: Eventually
) -> None:
    place = GrowingPlace(kafka.bootstrap, tmp_path, eventually)
    fired = place.topic("fired", place.partitions)
    # Some fire before the growth, what falls due meanwhile fires late, and the rest after it.
    begin_ms = int(time.time() * 1000) + 12_000
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "partitioner": "murmur2_random"})
    for number in range(TIMERS):
        producer.produce(place.source, key=f"t{number}", value=encode(Order(f"t{number}", begin_ms + 50 * number)))
    assert producer.flush(30) == 0

    def taken() -> bool:
        return sum(place.committed(place.source, number) for number in range(4)) == TIMERS

    script = ROOT / "benchmarks" / "timers_worker.py"
    with place.worker(script, TimersJob(place.group, place.source, fired, 4)) as worker:
        eventually(taken, within_s=60, every_s=0.2, what="the timers to be set")
        worker.terminate()
        assert worker.wait(40) == 0
    assert place.length(fired, 4) < TIMERS
    place.grown(SECOND, timers=True)
    # In the data folder of before are timers whose partition is another one now, perhaps the other worker's.
    job = TimersJob(place.group, place.source, fired, SECOND)
    with place.worker(script, job, number=0) as worker, place.worker(script, job, number=1) as other:
        eventually(lambda: place.length(fired, 4) >= TIMERS, within_s=90, every_s=0.2, what="all to fire")
        for one in (worker, other):
            one.terminate()
            assert one.wait(40) == 0
    assert "store.outdated" in place.log.read_text()
    keys = [message.key() for message in place.read(fired, 4)]
    assert (len(keys), len(set(keys))) == (TIMERS, TIMERS)
