"""Recovery: how long a worker takes to restore 100,000 keys from 1 M changelog records, from the assignment on.

The reference in the same run is a plain aiokafka consumer that reads the same changelog into a dictionary. Run it with
`./freshtrack bench recovery`, or against another broker with KAFKA_BOOTSTRAP_SERVERS.
"""

# ruff: noqa: E402 - the event loop is chosen before Faust is imported
from __future__ import annotations

import mode.loop

mode.loop.use("uvloop")

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiokafka
import msgspec

from benchmarks.scale import runs, scaled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[1]
PARTITIONS = 4
RUNS = runs(3)
RESULT = "RECOVERED "


class State(msgspec.Struct, array_like=True):
    """About what a unit's state is."""

    applied_offset: int
    count: int = 1
    last_c: float = 4.25
    name: str = "a walk-in freezer"


encode = msgspec.msgpack.Encoder().encode


class Case(msgspec.Struct, frozen=True):
    """A changelog of `records` over `keys`, restored into an empty folder."""

    name: str
    records: int
    keys: int
    store: str


CASES = (
    Case("1M records, 100,000 keys, RocksDB, folder wiped", scaled(1_000_000), scaled(100_000), "rocksdb"),
    Case("1M records, 100,000 keys, memory", scaled(1_000_000), scaled(100_000), "memory"),
    Case("100,000 units' state, RocksDB, folder wiped", scaled(100_000), scaled(100_000), "rocksdb"),
)


class Times(msgspec.Struct, frozen=True):
    minimum_s: float
    median_s: float
    maximum_s: float


def times(runs: list[float]) -> Times:
    return Times(*(round(value, 2) for value in (min(runs), statistics.median(runs), max(runs))))


def fill(bootstrap: str, group: str, case: Case) -> None:
    """The changelog that a worker with this table would have left, and its source topic."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap})
    config = {"cleanup.policy": "compact", "min.compaction.lag.ms": "3600000"}
    topics = [
        NewTopic(f"{group}-source", PARTITIONS, 1),
        NewTopic(f"{group}-states-changelog", PARTITIONS, 1, config=config),
    ]
    for made in admin.create_topics(topics).values():
        made.result()
    settings: dict[str, str | int | float | bool] = {
        "bootstrap.servers": bootstrap,
        "partitioner": "murmur2_random",
        "linger.ms": 20,
        "queue.buffering.max.messages": 1_000_000,
    }
    producer = Producer(settings)
    for number in range(case.records):
        key = b"unit-%06d" % (number % case.keys)
        while True:
            try:
                producer.produce(f"{group}-states-changelog", key=key, value=encode(State(number)))
                break
            except BufferError:
                producer.poll(0.1)
        if number % 1_000 == 0:
            producer.poll(0)
    assert producer.flush(120) == 0


def restore(bootstrap: str, group: str, case: Case) -> float:
    """Seconds from the assignment until the table serves, in a fresh worker with a fresh folder."""
    folder = tempfile.mkdtemp(prefix="recovery-")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "KAFKA_TOPIC_PREFIX": "",
        "DATA_DIR": folder,
        "STORE": case.store,
    }
    command = [sys.executable, "-m", "benchmarks.recovery", "worker", group, str(case.keys)]
    try:
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for line in done.stdout.splitlines():
        if line.startswith(RESULT):
            return float(line.removeprefix(RESULT))
    raise RuntimeError(f"the worker ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def worker(group: str, keys: int) -> None:
    """A worker that says when it is restored, and ends."""
    from benchmarks.own_topic import own_topic
    from streams.engine.app import create_app
    from streams.engine.applied_offset import applied_offset_of
    from streams.engine.consumer import Batch, each_batch
    from streams.engine.settings import WorkerSettings

    app = create_app(
        group, WorkerSettings(), batched=[own_topic(f"{group}-source")], applied_offset_of=applied_offset_of
    )
    table = app.Table("states", partitions=PARTITIONS, key_type=bytes, value_type=bytes)
    begin = 0.0

    @app.on_partitions_assigned.connect  # type: ignore[untyped-decorator]
    async def assigned(*_: object, **__: object) -> None:
        nonlocal begin
        begin = time.perf_counter()

    @app.agent(app.topic(f"{group}-source", key_serializer="raw", value_serializer="raw"))  # type: ignore[untyped-decorator]
    async def work(stream: Any) -> None:  # noqa: ANN401 - Faust ships no types
        async def nothing(_: Batch) -> None: ...

        await each_batch(app, stream, nothing)

    @app.task  # type: ignore[untyped-decorator]
    async def tell() -> None:
        while not (owned := table.owned()):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)
        taken_s = time.perf_counter() - begin
        found = sum(sum(1 for _ in table.scan(slot)) for slot in owned)
        assert found == keys, f"{found} keys restored, {keys} expected"
        stream = sys.__stdout__
        assert stream is not None
        print(f"{RESULT}{taken_s}", file=stream, flush=True)
        os._exit(0)

    sys.argv = ["recovery", "worker", "-l", "warn", "--without-web"]
    app.main()


def plain(bootstrap: str, group: str) -> float:
    """The reference: every record into a dictionary, no applied offset, no disk."""

    async def run() -> float:
        tps = [aiokafka.TopicPartition(f"{group}-states-changelog", number) for number in range(PARTITIONS)]
        consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=4 << 20,
        )
        await consumer.start()
        try:
            consumer.assign(tps)
            begin = time.perf_counter()
            ends: Mapping[Any, int] = await consumer.end_offsets(tps)
            values: dict[bytes, bytes] = {}
            behind = set(tps)
            while behind:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    for record in records:
                        values[record.key] = record.value
                behind = {tp for tp in behind if await consumer.position(tp) < ends[tp]}
            return time.perf_counter() - begin
        finally:
            await consumer.stop()

    return asyncio.run(run())


@contextmanager
def broker() -> Iterator[str]:
    if given := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield given
        return
    from local.kafka import EmbeddedKafka

    with tempfile.TemporaryDirectory(prefix="recovery-kafka-") as folder, EmbeddedKafka(Path(folder)) as kafka:
        yield kafka.bootstrap


def main() -> None:
    results: dict[str, Times] = {}
    with broker() as bootstrap:
        for case in CASES:
            group = f"recovery-{case.records}-{case.store}-{time.time_ns() % 1_000_000_000}"
            fill(bootstrap, group, case)
            runs: list[float] = []
            reference: list[float] = []
            for _ in range(RUNS):
                reference.append(plain(bootstrap, group))
                runs.append(restore(bootstrap, group, case))
            results[case.name] = times(runs)
            results[f"{case.name}: plain reader"] = times(reference)
            for name in (case.name, f"{case.name}: plain reader"):
                found = results[name]
                print(f"{name:66s} {found.minimum_s:6.2f} {found.median_s:6.2f} {found.maximum_s:6.2f} s", flush=True)
    print(msgspec.json.encode({"benchmark": "recovery", "runs": RUNS, "results": results}).decode())


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(sys.argv[2], int(sys.argv[3]))
    else:
        main()
