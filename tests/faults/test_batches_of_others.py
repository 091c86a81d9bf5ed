"""Batches as other producers write them: every codec, and transactions, whose markers leave gaps in the offsets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from tests.faults.sends_worker import Job
from tests.faults.workers import Place

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Eventually, Kafka

pytestmark = pytest.mark.broker

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def test_every_codec_and_every_committed_transaction_is_read_and_no_aborted_one(
    kafka: Kafka, tmp_path: Path, eventually: Eventually
) -> None:
    place = Place(kafka.bootstrap, tmp_path)
    job = Job(place.group, place.topic("source"), place.topic("out"), "none", "publish")
    for codec in CODECS:
        place.produce(job.source, [b"x" * 200] * 20, codec=codec)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": place.group})
    producer.init_transactions(20)
    for number in range(10):
        producer.begin_transaction()
        for _ in range(5):
            producer.produce(job.source, key=b"k", value=b"aborted" if number % 2 else b"committed")
        if number % 2:
            producer.flush(20)
            producer.abort_transaction(20)
        else:
            producer.commit_transaction(20)
    wanted = {message.offset() for message in place.read(job.source)}
    assert len(wanted) == 20 * len(CODECS) + 25

    with place.worker("sends_worker.py", job) as worker:

        def done() -> set[int]:
            return {int(message.key() or b"") for message in place.read(job.out)}

        assert eventually(lambda: done() >= wanted and done(), within_s=30, every_s=0.3, what="all records") == wanted
        worker.terminate()
        assert worker.wait(20) == 0
    assert place.committed(job.source) > max(offset for offset in wanted if offset is not None)
    assert len(place.read(job.out)) == len(wanted), "each once"
