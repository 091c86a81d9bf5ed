"""Several batches at once: what is finished out of turn is not committed before what comes earlier."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.side_by_side_worker import BATCH, SLOW, Job
from tests.faults.workers import Place

if TYPE_CHECKING:
    from tests.conftest import Eventually, Kafka

pytestmark = pytest.mark.broker

RECORDS = 200
SLOW_AT = 30


@pytest.fixture
def place(kafka: Kafka, tmp_path: Path) -> Place:
    return Place(kafka.bootstrap, tmp_path)


@pytest.fixture
def job(place: Place, tmp_path: Path) -> Job:
    job = Job(place.group, place.topic("source"), place.topic("out"), str(tmp_path / "gate"))
    place.produce(job.source, [SLOW if number == SLOW_AT else b"%d" % number for number in range(RECORDS)])
    return job


def done(place: Place, job: Job) -> list[int]:
    return [int(message.key() or b"") for message in place.read(job.out)]


def test_a_killed_worker_leaves_nothing_undone_behind_what_it_committed(
    place: Place, job: Job, eventually: Eventually
) -> None:
    with place.worker("side_by_side_worker.py", job) as worker:
        eventually(lambda: len(done(place, job)) == RECORDS - BATCH, within_s=20, what="all but the slow batch")
        eventually(lambda: place.committed(job.source) == SLOW_AT, what="what lies before the slow batch")
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    assert place.committed(job.source) == SLOW_AT
    Path(job.gate).touch()
    with place.worker("side_by_side_worker.py", job, number=1) as worker:
        eventually(lambda: place.committed(job.source) == RECORDS, within_s=30, what="the rest")
        worker.terminate()
        assert worker.wait(30) == 0
    assert set(done(place, job)) == set(range(RECORDS))


def test_a_worker_that_is_told_to_end_lets_the_slow_batch_finish(
    place: Place, job: Job, eventually: Eventually
) -> None:
    with place.worker("side_by_side_worker.py", job) as worker:
        eventually(lambda: len(done(place, job)) == RECORDS - BATCH, within_s=20, what="all but the slow batch")
        worker.terminate()
        eventually(lambda: b"Wait for streams" in place.log.read_bytes(), what="the drain to begin")
        Path(job.gate).touch()
        assert worker.wait(30) == 0
    assert place.committed(job.source) == RECORDS
    assert sorted(done(place, job)) == list(range(RECORDS)), "nothing is done twice"
