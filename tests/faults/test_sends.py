"""A send that fails: what depends on it is not committed, the worker ends, and the next one does it all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.sends_worker import BATCH, POISON, Job
from tests.faults.workers import Place

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Eventually, Kafka

pytestmark = pytest.mark.broker

RECORDS = 100
POISONED = 55
# Ends in good order after the failed send; a send has this long.
SEND_LIMIT_S = 2
SOON_S = 30


@pytest.mark.parametrize("at", ["publish", "table"])
@pytest.mark.parametrize("fault", ["refused", "hanging", "lost"])
def test_nothing_is_committed_after_a_send_that_failed(
    fault: str, at: str, kafka: Kafka, tmp_path: Path, eventually: Eventually
) -> None:
    place = Place(kafka.bootstrap, tmp_path)
    source = place.topic("source")
    out = place.topic("out", max_message_bytes="1000")
    place.topic("seen-changelog", max_message_bytes="1000", cleanup_policy="compact")
    place.produce(source, [POISON if number == POISONED else b"%d" % number for number in range(RECORDS)])
    job = Job(place.group, source, out, fault, at)
    limits = {"SEND_LIMIT_S": str(SEND_LIMIT_S), "DRAIN_LIMIT_S": "6"}

    with place.worker("sends_worker.py", job, environment=limits) as worker:
        code = eventually(worker.poll, within_s=SOON_S, what="the worker to end") or worker.returncode

    assert code != 0
    first_of_poisoned_batch = POISONED - POISONED % BATCH
    assert place.committed(source) <= first_of_poisoned_batch, place.log.read_text()

    # Whoever comes next finds all of it.
    healthy = Job(place.group, source, place.topic("out-2"), "none", at)
    with place.worker("sends_worker.py", healthy, number=1) as worker:
        eventually(lambda: place.committed(source) == RECORDS, within_s=SOON_S, what="the rest to be committed")
        worker.terminate()
        assert worker.wait(20) == 0
    done = {int(message.key() or b"") for topic in (out, healthy.out) for message in place.read(topic)}
    assert done == set(range(RECORDS))


def test_a_batch_that_a_flow_returns_is_read_again_in_a_new_epoch(
    kafka: Kafka, tmp_path: Path, eventually: Eventually
) -> None:
    place = Place(kafka.bootstrap, tmp_path)
    job = Job(place.group, place.topic("source"), place.topic("out"), "returned", "publish")
    place.produce(job.source, [POISON if number == POISONED else b"%d" % number for number in range(RECORDS)])
    with place.worker("sends_worker.py", job) as worker:
        eventually(lambda: place.committed(job.source) == RECORDS, within_s=SOON_S, what="everything to be committed")
        worker.terminate()
        assert worker.wait(20) == 0
    assert [int(message.key() or b"") for message in place.read(job.out)] == list(range(RECORDS))
