"""What brokers do to topics by themselves, and what transactional producers leave in them, changes no sum."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from local.kafka import EmbeddedKafka
from tests.faults.summing import SummingPlace

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Eventually, Kafka

pytestmark = pytest.mark.broker

ROUND = 400
# Every half second a segment that may be compacted at once.
RESTLESS = {
    "cleanup.policy": "compact",
    "segment.ms": "500",
    "min.compaction.lag.ms": "0",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "604800000",
}
CLEANER = {"log.cleaner.backoff.ms": "200", "log.cleaner.threads": "1"}


def test_a_partition_that_moves_back_to_an_old_data_folder_while_its_changelog_is_compacted_counts_right(
    tmp_path: Path, eventually: Eventually
) -> None:
    with EmbeddedKafka(tmp_path / "kafka", extra=CLEANER) as broker:
        place = SummingPlace(broker.bootstrap, tmp_path, eventually)
        changelog = f"{place.group}-sums-changelog"
        place.admin.create_topics([NewTopic(changelog, place.partitions, 1, config=RESTLESS)])[changelog].result(30)
        # The first folder is left twice, and returned to when another worker has written what it does not know.
        for number in (0, 1, 0):
            place.send(ROUND)
            job = place.job(f"lines-{number}", pause_s=0.02)
            with place.worker("storm_worker.py", job, number=number) as worker:
                eventually(lambda: place.done() >= place.sent, within_s=60, every_s=0.3, what="all to be counted")
                worker.send_signal(signal.SIGKILL)
                worker.wait(10)

        def compacted() -> bool:
            return len(place.read(changelog, place.partitions)) < place.length(changelog, place.partitions) / 2

        eventually(compacted, within_s=30, every_s=0.5, what="the cleaner to have removed most records")
        place.judge()


def test_records_that_a_transactional_producer_took_back_do_not_count_and_its_markers_stop_nobody(
    kafka: Kafka, tmp_path: Path, eventually: Eventually
) -> None:
    place = SummingPlace(kafka.bootstrap, tmp_path, eventually)
    settings: dict[str, str | int | float | bool] = {
        "bootstrap.servers": kafka.bootstrap,
        "partitioner": "murmur2_random",
        "transactional.id": place.prefix,
    }
    producer = Producer(settings)
    producer.init_transactions(30)
    job = place.job("lines", pause_s=0.02)
    with place.worker("storm_worker.py", job) as first:
        for number in range(30):
            producer.begin_transaction()
            for key in range(20):
                producer.produce(place.source, key=f"k{key}", value="1")
                if number % 3:
                    place.truth[b"k%d" % key].count += 1
                    place.truth[b"k%d" % key].total += 1
            # A third of them is taken back, also the newest records of all.
            if number % 3:
                producer.commit_transaction(30)
            else:
                producer.flush(30)
                producer.abort_transaction(30)
        eventually(lambda: place.done() >= place.sent // 2, within_s=60, every_s=0.2, what="half to be counted")
        first.send_signal(signal.SIGKILL)
    with place.worker("storm_worker.py", job, number=1):
        eventually(lambda: place.done() >= place.sent, within_s=60, every_s=0.3, what="all to be counted")
    place.judge()
