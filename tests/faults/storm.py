"""A storm: workers are stopped all the time while records come in. Afterwards it is counted what became of them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.faults.storm_worker import Job, State, decode, row_of
from tests.faults.workers import committed

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PARTITIONS = 4
How = Literal["term", "kill", "stop", "mix"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is done to two workers for `storm_s` seconds, while `events` come in within the first `produce_s`."""

    how: How
    seed: int
    store: str = "memory"
    stock: bool = False
    storm_s: float = 40.0
    produce_s: float = 30.0
    events: int = 20_000
    keys: int = 100
    slow_s: float = 0.0
    at_once: int = 1
    session_timeout_s: float = 6.0
    freeze_limit_s: float = 4.8
    gap_s: tuple[float, float] = (3.0, 8.0)
    drain_s: float = 60.0

    def __str__(self) -> str:
        backlog = "-backlog" if self.slow_s else ""
        beside = f"-{self.at_once}-at-once" if self.at_once > 1 else ""
        return f"{'stock-' if self.stock else ''}{self.how}-{self.store}{backlog}{beside}"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the records. `lost`: no worker ever saw them; `twice`: applied more than once.

    `wrong`: keys whose value with the highest fence in the changelog is not the sum of their records; `newest_wrong`:
    the same for the newest value.
    """

    stops: dict[str, int]
    events: int
    committed: int
    lost: int
    twice: int
    skipped: int
    wrong: int
    newest_wrong: int
    hung: int
    drained_in_s: float


class Storm:
    def __init__(self, plan: Plan, bootstrap: str, folder: Path) -> None:
        self.plan = plan
        self.bootstrap = bootstrap
        self.folder = folder
        self.group = f"storm-{plan}-{os.getpid()}-{time.time_ns() % 1_000_000}"
        self.source = f"{self.group}-source"
        self.hung = 0
        self._admin = AdminClient({"bootstrap.servers": bootstrap})
        self._rng = random.Random(plan.seed)
        self._produced = threading.Event()
        folder.mkdir(parents=True, exist_ok=True)

    def run(self) -> Outcome:
        for made in self._admin.create_topics([NewTopic(self.source, PARTITIONS, 1)]).values():
            made.result()
        producer = threading.Thread(target=self._produce, daemon=True)
        workers = {number: self._start(number) for number in range(2)}
        try:
            producer.start()
            stops = self._rage(workers)
            assert self._produced.wait(60)
            for worker in workers.values():
                self._end(worker, signal.SIGKILL if self.plan.how == "kill" else signal.SIGTERM)
            drained_in_s = self._drain(workers)
        finally:
            for worker in workers.values():
                self._end(worker, signal.SIGKILL)
        return self._count(stops, drained_in_s)

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        plan = self.plan
        job = Job(
            group=self.group,
            source=self.source,
            lines=str(self.folder / f"lines-{number}.txt"),
            stock=plan.stock,
            slow_s=plan.slow_s,
            at_once=plan.at_once,
            max_batch=500 if plan.at_once == 1 else 50,
        )
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "KAFKA_TOPIC_PREFIX": "",
            "DATA_DIR": str(self.folder / f"data-{number}"),
            "STORE": plan.store,
            "SESSION_TIMEOUT_S": str(plan.session_timeout_s),
            "FREEZE_LIMIT_S": str(plan.freeze_limit_s),
            "COMMIT_INTERVAL_S": "0.5",
        }
        (self.folder / f"data-{number}").mkdir(exist_ok=True)
        with (self.folder / f"out-{number}.txt").open("ab") as out:
            return subprocess.Popen(
                [sys.executable, str(ROOT / "tests/faults/storm_worker.py"), msgspec.json.encode(job).decode()],
                env=environment,
                stdout=out,
                stderr=out,
            )

    def _end(self, worker: subprocess.Popen[bytes], how: signal.Signals) -> None:
        if worker.poll() is not None:
            return
        worker.send_signal(signal.SIGCONT)
        worker.send_signal(how)
        try:
            worker.wait(45)
        except subprocess.TimeoutExpired:
            self.hung += 1
            worker.kill()
            worker.wait()

    def _rage(self, workers: dict[int, subprocess.Popen[bytes]]) -> Counter[str]:
        plan, rng = self.plan, self._rng
        stops: Counter[str] = Counter()
        deadline = time.monotonic() + plan.storm_s
        while time.monotonic() < deadline:
            time.sleep(rng.uniform(*plan.gap_s))
            number = rng.choice(list(workers))
            worker = workers[number]
            how = rng.choice(["term", "kill", "stop"]) if plan.how == "mix" else plan.how
            stops[how] += 1
            if worker.poll() is not None:
                stops["ended by itself"] += 1
            elif how == "stop":
                worker.send_signal(signal.SIGSTOP)
                time.sleep(rng.uniform(1.1, 1.5) * plan.session_timeout_s)
                worker.send_signal(signal.SIGCONT)
                continue
            else:
                self._end(worker, signal.SIGTERM if how == "term" else signal.SIGKILL)
            workers[number] = self._start(number)
        return stops

    def _produce(self) -> None:
        plan, rng = self.plan, random.Random(self.plan.seed + 1)
        producer = Producer(
            {"bootstrap.servers": self.bootstrap, "linger.ms": 20, "partitioner": "murmur2_random"},
        )
        begin = time.monotonic()
        for number in range(plan.events):
            ahead = begin + plan.produce_s * number / plan.events - time.monotonic()
            if ahead > 0.01:
                producer.poll(0)
                time.sleep(ahead)
            producer.produce(self.source, key=f"k{rng.randrange(plan.keys)}", value=str(rng.randrange(1000)))
        assert producer.flush(60) == 0
        self._produced.set()

    def _drain(self, workers: dict[int, subprocess.Popen[bytes]]) -> float:
        """One last worker finishes what is left."""
        begin = time.monotonic()
        workers[9] = last = self._start(9)
        while time.monotonic() - begin < self.plan.drain_s and self._committed() < self.plan.events:
            if last.poll() is not None:
                workers[9] = last = self._start(9)
            time.sleep(0.25)
        drained_in_s = time.monotonic() - begin
        self._end(last, signal.SIGTERM)
        return drained_in_s

    def _committed(self) -> int:
        wanted = [TopicPartition(self.source, number) for number in range(PARTITIONS)]
        return sum(max(tp.offset, 0) for tp in committed(self.bootstrap, self.group, wanted))

    def _count(self, stops: Counter[str], drained_in_s: float) -> Outcome:
        truth: defaultdict[bytes, State] = defaultdict(State)
        source: set[tuple[int, int]] = set()
        for partition, offset, key, value in read(self.bootstrap, self.source):
            source.add((partition, offset))
            state = truth[key if self.plan.at_once == 1 else row_of(partition, offset)]
            state.fence, state.count, state.total = offset, state.count + 1, state.total + int(value)
        applied: Counter[tuple[int, int]] = Counter()
        skipped: set[tuple[int, int]] = set()
        for path in self.folder.glob("lines-*.txt"):
            for line in path.read_text(encoding="utf-8").splitlines():
                what, partition_text, offset_text = line.split()
                place = int(partition_text), int(offset_text)
                if what == "A":
                    applied[place] += 1
                else:
                    skipped.add(place)
        newest: dict[bytes, State] = {}
        best: dict[bytes, State] = {}
        for _, _, key, value in read(self.bootstrap, f"{self.group}-sums-changelog"):
            newest[key] = state = decode(value)
            if key not in best or state.fence >= best[key].fence:
                best[key] = state
        return Outcome(
            stops=dict(stops),
            events=len(source),
            committed=self._committed(),
            lost=len(source - applied.keys() - skipped),
            twice=sum(applied.values()) - len(applied),
            skipped=len(skipped),
            wrong=sum(best.get(key) != state for key, state in truth.items()),
            newest_wrong=sum(newest.get(key) != state for key, state in truth.items()),
            hung=self.hung,
            drained_in_s=round(drained_in_s, 1),
        )


def read(bootstrap: str, topic: str) -> Iterator[tuple[int, int, bytes, bytes]]:
    """Partition, offset, key and value of everything in the topic."""
    settings: dict[str, str | int | float | bool] = {
        "bootstrap.servers": bootstrap,
        "group.id": "audit",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
    }
    consumer = Consumer(settings)
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    ended: set[int] = set()
    while len(ended) < PARTITIONS:
        for message in consumer.consume(10_000, 1.0):
            error = message.error()
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            if error is None:
                key, value = message.key(), message.value()
                assert isinstance(key, bytes)
                assert isinstance(value, bytes)
                assert offset is not None
                yield partition, offset, key, value
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(partition)
    consumer.close()
