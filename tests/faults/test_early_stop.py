"""SIGTERM at any moment of a worker's start: it is gone in time, and nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from streams.engine import deadline
from tests.faults.sends_worker import Job
from tests.faults.workers import ROOT, Place

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Eventually, Kafka

pytestmark = pytest.mark.broker

RECORDS = 200
DRAIN_LIMIT_S = 5
# From before the first import to the first batches.
MOMENTS_S = (0.2, 0.6, 0.9, 1.2, 1.5, 1.8, 2.1, 2.5)


def test_a_worker_that_is_told_to_end_while_it_starts_is_gone_in_time_and_loses_nothing(
    kafka: Kafka, tmp_path: Path, eventually: Eventually
) -> None:
    place = Place(kafka.bootstrap, tmp_path)
    job = Job(place.group, place.topic("source"), place.topic("out"), "none", "publish")
    place.produce(job.source, [b"%d" % number for number in range(RECORDS)])
    limits = {"DRAIN_LIMIT_S": str(DRAIN_LIMIT_S)}

    with ExitStack() as stack:
        workers = []
        for number, moment_s in enumerate(MOMENTS_S):
            worker = stack.enter_context(place.worker("sends_worker.py", job, number=number, environment=limits))
            timer = threading.Timer(moment_s, worker.send_signal, [signal.SIGTERM])
            timer.start()
            workers.append((worker, timer))
        begin = time.monotonic()
        for worker, timer in workers:
            timer.join()
            code = worker.wait(max(MOMENTS_S) + DRAIN_LIMIT_S + 10 - (time.monotonic() - begin))
            assert code in {0, -signal.SIGTERM, deadline.EXIT_CODE}, place.log.read_text()

    with place.worker("sends_worker.py", job, number=99) as last:
        # An earlier one may have done all the others; this one only the last can do, so that it is up then.
        place.produce(job.source, [b"one more"])
        eventually(lambda: place.committed(job.source) == RECORDS + 1, within_s=30, what="the records to be committed")
        last.terminate()
        assert last.wait(20) == 0, place.log.read_text()
    assert {int(message.key() or b"") for message in place.read(job.out)} == set(range(RECORDS + 1))


def test_a_process_that_hangs_on_its_way_out_is_ended() -> None:
    """In a process of its own, for it ends that."""
    code = "import time\nfrom streams.engine import deadline\ndeadline.arm(0.2, 'SIGTERM')\ntime.sleep(60)\n"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == deadline.EXIT_CODE
    assert b"not drained 0.2 s after SIGTERM" in done.stderr
