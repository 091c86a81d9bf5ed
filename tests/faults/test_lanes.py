"""Back-pressure by topic: a backlog of one never delays another, and loses nothing itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from tests.faults.lanes_worker import Job
from tests.faults.workers import Place

if TYPE_CHECKING:
    from tests.conftest import Eventually, Kafka

pytestmark = pytest.mark.broker

BACKLOG = 20_000
FAST = 200
EVERY_S = 0.02


def lines(path: Path, kind: str) -> list[float]:
    if not path.exists():
        return []
    found = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return [float(words[1]) for words in found if words[0] == kind]


def test_a_backlog_of_one_topic_does_not_delay_another(kafka: Kafka, tmp_path: Path, eventually: Eventually) -> None:
    place = Place(kafka.bootstrap, tmp_path)
    slow, fast = place.topic("slow", 4), place.topic("fast", 4)
    place.produce(slow, [b"%d" % number for number in range(BACKLOG)])
    job = Job(place.group, slow, fast, str(tmp_path / "lines.txt"))
    path = Path(job.lines)

    with place.worker("lanes_worker.py", job) as worker:
        eventually(lambda: len(lines(path, "slow")) >= 4, within_s=30, what="the backlog to be worked on")
        producer = Producer({"bootstrap.servers": kafka.bootstrap, "partitioner": "murmur2_random"})
        for number in range(FAST):
            producer.produce(fast, key=b"%d" % number, value=b"")
            producer.poll(EVERY_S)
        assert producer.flush(10) == 0
        eventually(lambda: len(lines(path, "fast")) == FAST, within_s=10, what="the fast topic")
        late_ms = sorted(lines(path, "fast"))
        worked_off = sum(lines(path, "slow"))
        worker.terminate()
        assert worker.wait(30) == 0

    assert worked_off < BACKLOG / 2, "the backlog was gone before it could delay anything"
    assert late_ms[int(FAST * 0.99)] < 250, f"median {late_ms[FAST // 2]} ms, worst {late_ms[-1]} ms"
    handled = int(sum(lines(path, "slow")))
    committed = sum(place.committed(slow, partition) for partition in range(4))
    assert committed == handled, "what was finished is committed, and nothing else"
