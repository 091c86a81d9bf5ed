"""Timers: how late they fire while 100,000 are pending, from their due time to a receiver of what they publish.

One worker keeps them all. A run has two parts: first 100,000 are pending, of which 5,000 fall due at once and then
5,000 at 250 a second (what the reference, BullMQ, has as its only ones); then 100,000 fall due within a minute, and
again 100,000 at the same moment. Run it with `./freshtrack bench timers`.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.bullmq import peer
from benchmarks.recovery import broker
from benchmarks.scale import runs, scaled
from benchmarks.timers_worker import PARTITIONS, Job, Order, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[1]
RUNS = runs(3)
PENDING = scaled(100_000, at_least=200)
FEW = scaled(5_000, at_least=50)
FEW_PER_S = 250
MINUTE_MS = scaled(60_000, at_least=1_000)
HOUR_MS = 3_600_000
# From the order to the first due time: the timers must all be set by then.
SET_WITHIN_MS = scaled(15_000, at_least=4_000)
QUIET_S = 60.0


class Lateness(msgspec.Struct, frozen=True):
    """Milliseconds after the due time, of one run."""

    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, late_ms: list[float]) -> Lateness:
        late_ms.sort()
        count = len(late_ms)
        return cls(*(round(late_ms[place], 1) for place in (count // 2, count * 99 // 100, -1)))


def now_ms() -> float:
    return time.time() * 1000


class Bench:
    """A worker, its orders, and a receiver of what its timers publish."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        group = f"timers-{time.time_ns() % 1_000_000_000}"
        self._job = Job(group, f"{group}-orders", f"{group}-fired")
        admin = AdminClient({"bootstrap.servers": bootstrap})
        topics = [NewTopic(name, PARTITIONS, 1) for name in (self._job.orders, self._job.fired)]
        for made in admin.create_topics(topics).values():
            made.result()
        settings: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap,
            "group.id": "receiver",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 50,
        }
        self._receiver = Consumer(settings)
        self._receiver.assign([TopicPartition(self._job.fired, number, 0) for number in range(PARTITIONS)])

    @contextmanager
    def worker(self, folder: Path) -> Iterator[None]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "KAFKA_BOOTSTRAP_SERVERS": self._bootstrap,
            "KAFKA_TOPIC_PREFIX": "",
            "DATA_DIR": str(folder / "data"),
        }
        command = [sys.executable, "-m", "benchmarks.timers_worker", msgspec.json.encode(self._job).decode()]
        with (folder / "worker.log").open("ab") as log:
            process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)
            self._receiver.close()

    def order(self, name: str, count: int, due_ms: Callable[[int], float]) -> None:
        """Set `count` timers; the number-th is due at `due_ms(number)`."""
        settings: dict[str, str | int | float | bool] = {
            "bootstrap.servers": self._bootstrap,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 2 * PENDING,
        }
        producer = Producer(settings)
        for number in range(count):
            timer_id = f"{name}-{number}"
            producer.produce(self._job.orders, key=timer_id, value=encode(Order(timer_id, int(due_ms(number)))))
        if producer.flush(60):
            raise RuntimeError("not all orders reached the broker")

    def receive(self, count: int) -> list[float]:
        """How late each of the next `count` came, in ms. Raises TimeoutError when none comes for a while."""
        late_ms: list[float] = []
        heard = time.monotonic()
        while len(late_ms) < count:
            message = self._receiver.poll(1.0)
            if message is None or message.error() is not None:
                if time.monotonic() - heard > QUIET_S:
                    raise TimeoutError(f"{len(late_ms)} of {count} timers fired, and then none for {QUIET_S} s")
                continue
            heard = time.monotonic()
            due = dict(message.headers() or [])["due-at"]
            late_ms.append(now_ms() - int(due or 0))
        return late_ms


def run(bootstrap: str) -> dict[str, Lateness]:
    found: dict[str, Lateness] = {}
    with tempfile.TemporaryDirectory(prefix="timers-") as name:
        bench = Bench(bootstrap)
        with bench.worker(Path(name)):
            begin = now_ms() + SET_WITHIN_MS
            bench.order("pending", PENDING - 2 * FEW, lambda _: begin + HOUR_MS)
            bench.order("burst", FEW, lambda _: begin)
            spread_from = begin + scaled(5_000, at_least=500)
            bench.order("spread", FEW, lambda number: spread_from + number * 1000 / FEW_PER_S)
            found["5,000 at once"] = Lateness.of(bench.receive(FEW))
            found["5,000 at 250/s"] = Lateness.of(bench.receive(FEW))
            begin = now_ms() + SET_WITHIN_MS
            bench.order("minute", PENDING, lambda number: begin + number * MINUTE_MS / PENDING)
            found["100,000 in a minute"] = Lateness.of(bench.receive(PENDING))
            begin = now_ms() + SET_WITHIN_MS
            bench.order("all", PENDING, lambda _: begin)
            found["100,000 at once"] = Lateness.of(bench.receive(PENDING))
    return found


def tell(name: str, runs: list[Lateness]) -> None:
    cells = []
    for field in Lateness.__struct_fields__:
        values = [getattr(lateness, field) for lateness in runs]
        cells.append(f"{min(values):8.0f} /{statistics.median(values):7.0f} /{max(values):7.0f}")
    print(f"{name:34}" + "   ".join(cells), flush=True)


def main() -> None:
    results: dict[str, list[Lateness]] = {}
    with broker() as bootstrap, peer() as bullmq:
        for number in range(RUNS):
            print(f"run {number + 1} of {RUNS}", flush=True)
            for name, lateness in run(bootstrap).items():
                results.setdefault(name, []).append(lateness)
            if bullmq is not None:
                for how, name in (("burst", "5,000 at once"), ("spread", "5,000 at 250/s")):
                    late = bullmq.run("delayed.js", how)
                    lateness = Lateness(late["late_p50_ms"], late["late_p99_ms"], late["late_max_ms"])
                    results.setdefault(f"{name}, BullMQ", []).append(lateness)
    print(f"{'ms late, min / median / max':34}{'p50':>22}{'p99':>29}{'max':>28}")
    for name in sorted(results):
        tell(name, results[name])
    print(msgspec.json.encode({"benchmark": "timers", "pending": PENDING, "runs": RUNS, "late_ms": results}).decode())


if __name__ == "__main__":
    main()
