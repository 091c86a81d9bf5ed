"""Workers on three brokers of which some go away: nothing is lost or counted twice, and the workers go on alone.

The settings are those of production: three copies of each partition, and a write counts when two brokers have it.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from local.kafka_cluster import BROKERS, EmbeddedCluster
from tests.faults.summing import SummingPlace

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from local.kafka import EmbeddedKafka
    from tests.conftest import Eventually

pytestmark = pytest.mark.broker

AWAY_S = 60.0
MOST = 1_000_000
# Workers that are to outlast a minute without brokers must let a send take longer.
PRODUCTION = {"REPLICATION_FACTOR": str(BROKERS), "SEND_LIMIT_S": "120"}


class Replicated(SummingPlace):
    """Two workers on a cluster, and records that come in all the time."""

    def __init__(self, cluster: EmbeddedCluster, folder: Path, eventually: Eventually) -> None:
        super().__init__(cluster.bootstrap, folder, eventually, copies=BROKERS)
        self.cluster = cluster
        self.workers: list[subprocess.Popen[bytes]] = []

    @contextmanager
    def at_work(self, workers: int = 2) -> Iterator[ExitStack]:
        """Ends when every record is in the table. The workers must be those that were started."""
        over = threading.Event()
        load = threading.Thread(target=self.send, args=(MOST,), kwargs={"until": over, "pause_s": 0.005})
        with ExitStack() as stack:
            for _ in range(workers):
                self.start_worker(stack)
            load.start()
            try:
                self.eventually(lambda: self.done() > 100, within_s=60, every_s=0.5, what="the workers to be at work")
                yield stack
            finally:
                over.set()
                load.join(150)
            self.eventually(lambda: self.done() >= self.sent, within_s=120, every_s=1, what="all to be counted")
            assert [worker.poll() for worker in self.workers] == [None] * len(self.workers), self.log.read_text()[
                -3000:
            ]
        self.judge()

    def start_worker(self, stack: ExitStack) -> None:
        number = len(self.workers)
        job = self.job(f"lines-{number}", pause_s=0.02)
        self.workers.append(
            stack.enter_context(self.worker("storm_worker.py", job, number=number, environment=PRODUCTION))
        )

    def goes_on(self) -> None:
        """What comes in from now on is counted."""
        goal = self.sent + 200
        self.eventually(lambda: self.done() >= goal, within_s=90, every_s=0.5, what="the workers to go on")

    def in_sync(self) -> bool:
        found = self.admin.list_topics(self.source, timeout=10).topics[self.source].partitions.values()
        return all(len(partition.isrs) == BROKERS for partition in found)

    def back(self, broker: EmbeddedKafka) -> None:
        broker.start()
        self.eventually(self.in_sync, within_s=60, every_s=0.2, what="three copies of each partition")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster(tmp_path_factory.mktemp("cluster")) as brokers:
        yield brokers


@pytest.fixture
def place(cluster: EmbeddedCluster, tmp_path: Path, eventually: Eventually) -> Replicated:
    return Replicated(cluster, tmp_path, eventually)


def test_a_broker_that_is_killed_and_comes_back_costs_nothing(place: Replicated) -> None:
    with place.at_work():
        killed = place.cluster.brokers[0]
        killed.kill()
        place.goes_on()
        place.back(killed)
        place.goes_on()


@pytest.mark.long
def test_brokers_restarted_one_by_one_under_load_cost_nothing(place: Replicated) -> None:
    with place.at_work():
        for broker in place.cluster.brokers:
            # In good order: it gives its leaderships away first.
            broker.stop()
            place.goes_on()
            place.back(broker)
        place.goes_on()


@pytest.mark.long
@pytest.mark.parametrize("gone", [2, BROKERS])
def test_brokers_away_for_a_minute_during_a_rebalance_cost_nothing(place: Replicated, gone: int) -> None:
    with place.at_work() as stack:
        rebalances = place.log.read_text().count("is rebalancing")
        place.start_worker(stack)
        place.eventually(lambda: place.log.read_text().count("is rebalancing") > rebalances, within_s=60)
        brokers = place.cluster.brokers[:gone]
        for broker in brokers:
            broker.kill()
        threading.Event().wait(AWAY_S)
        place.cluster.start()
        place.eventually(place.in_sync, within_s=60, every_s=0.2, what="three copies of each partition")
        place.goes_on()
