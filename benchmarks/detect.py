"""Readings a second through one detection worker, beside a plain loop without durability on the same topics.

    freshtrack bench detect

One reading a message with 500 and with 100,000 units that measure every minute, and gateway batches of 50. The worker
is the real one: rules with hysteresis, 15-minute buckets published and kept for late data, alerts acknowledged by the
broker, every touched state in RocksDB and in the changelog, offsets committed. The loop does the same work in memory.
The two take turns; what counts is their ratio. Prints a table and, last, one JSON line.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from benchmarks.scale import runs, scaled
from broker.partition_counts import PartitionCounts
from broker.topics import create_topics
from local.kafka import EmbeddedKafka
from schemas import messages as m
from schemas.topics import ALERTS, READINGS, TOPICS

ROOT = Path(__file__).resolve().parents[1]
RUNS = runs(3)
TIME_LIMIT_S = 120
BUCKET_MS = 900_000
MANY_UNITS = scaled(100_000, at_least=500)


class Case(NamedTuple):
    name: str
    units: int
    per_message: int
    readings: int
    interval_s: float
    goal: str


CASES = (
    Case("1 reading a message, 500 units", 500, 1, scaled(1_000_000), 60, "0.3 x the loop"),
    Case(
        "1 reading a message, 100,000 units", scaled(100_000, at_least=500), 1, scaled(1_000_000), 60, "0.2 x the loop"
    ),
    Case("50 readings a message, 500 units", 500, 50, scaled(2_000_000, at_least=500), 5, "1,000,000/s"),
)

RULES = (
    m.Rule(rule_id="hot", limit=m.Limit.HIGH, severity=m.Severity.CRITICAL, limit_c=8.0, clear_c=7.0),
    m.Rule(rule_id="cold", limit=m.Limit.LOW, severity=m.Severity.CRITICAL, limit_c=1.0, clear_c=2.0),
    m.Rule(
        rule_id="warm", limit=m.Limit.HIGH, severity=m.Severity.WARNING, limit_c=8.5, confirm_s=300, recover_readings=3
    ),
)


class Result(NamedTuple):
    readings: int
    seconds: float
    alerts: int
    buckets: int
    cpu_seconds: float
    peak_mib: float

    @property
    def rate(self) -> float:
        return self.readings / self.seconds


def load(bootstrap: str, prefix: str, case: Case) -> None:
    """Configure the units and produce the readings: a seeded walk round 6.5 °C, so that units cross 8 and 7 °C."""
    # The loop's records go to topics of their own; without them the loop would wait ten seconds for a refusal.
    loop_topics = [
        msgspec.structs.replace(ALERTS, name=f"{READINGS.name}-loop-{what}") for what in ("alerts", "buckets")
    ]
    four = PartitionCounts(4)
    create_topics({"bootstrap.servers": bootstrap}, prefix=prefix, partitions=four, topics=(*TOPICS, *loop_topics))
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            # Without it a retry on the new topic reorders what lies behind it.
            "enable.idempotence": True,
            "linger.ms": 20,
            "batch.size": 1 << 20,
            "queue.buffering.max.messages": 2_000_000,
        }
    )
    names = [f"unit-{number:06d}" for number in range(case.units)]
    for name in names:
        config = m.UnitConfig(
            unit_id=name, organization_id="bench", name=name, rules=RULES, live_window_s=7 * 86_400, display_unit="C"
        )
        producer.produce(f"{prefix}units", m.encode(config), key=name)
    rng, temperatures = random.Random(20261124), [6.5] * case.units
    messages = case.readings // case.per_message
    interval_ms = int(case.interval_s * 1000)
    # A border of buckets lies in the middle of even the shortest case.
    span_ms = case.readings // case.units * interval_ms
    now_ms = int(time.time() * 1000)
    start_ms = now_ms - span_ms - now_ms % BUCKET_MS - BUCKET_MS + 300_000
    for number in range(messages):
        lap, unit = divmod(number, case.units)
        first_ms = start_ms + lap * case.per_message * interval_ms + unit * interval_ms // case.units
        readings = []
        for index in range(case.per_message):
            temperatures[unit] += 0.02 * (6.5 - temperatures[unit]) + rng.gauss(0, 0.15)
            readings.append(m.Reading(first_ms + index * interval_ms, round(temperatures[unit], 2)))
        producer.produce(f"{prefix}readings", m.encode(m.ReadingBatch(names[unit], readings)), key=names[unit])
        if number % 1000 == 0:
            producer.poll(0)
    producer.flush(120)


def forget(bootstrap: str, prefix: str) -> None:
    """Remove what a worker left at the broker, so that the next one starts from nothing."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    groups = [name for group in admin.list_groups(timeout=10) if prefix.strip(".") in (name := str(group.id))]
    if groups:
        for done in admin.delete_consumer_groups(groups).values():
            done.result()
    changelogs = [name for name in admin.list_topics(timeout=10).topics if "changelog" in name and prefix in name]
    if changelogs:
        for gone in admin.delete_topics(changelogs).values():
            gone.result()


def measure(module: str, arguments: list[str], environment: dict[str, str]) -> Result:
    """Run one side to its end. Its result comes through a pipe of its own: a worker's stdout is redirected."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment, "RESULT_FD": str(writing)},
        stdout=writing,
        pass_fds=[writing],
    )
    os.close(writing)
    try:
        code = process.wait(TIME_LIMIT_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    with os.fdopen(reading) as output:
        lines = output.read().splitlines()
    if code != 0 or not lines:
        raise RuntimeError(f"{module} ended with {code} and printed {lines}")
    return Result(**json.loads(lines[-1]))


def run_case(bootstrap: str, case: Case, number: int) -> dict[str, object]:
    prefix = f"bench{os.getpid()}-{number}."
    load(bootstrap, prefix, case)
    loops: list[Result] = []
    workers: list[Result] = []
    for _ in range(RUNS):
        loops.append(
            measure(
                "benchmarks.reference_loop",
                [f"{prefix}readings", str(case.readings)],
                {"KAFKA_BOOTSTRAP_SERVERS": bootstrap},
            )
        )
        with tempfile.TemporaryDirectory(prefix="bench-detect-") as folder:
            environment = {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "KAFKA_TOPIC_PREFIX": prefix, "DATA_DIR": folder}
            workers.append(measure("benchmarks.detect_worker", [str(case.readings)], environment))
        forget(bootstrap, prefix)
    ratios = [worker.rate / loop.rate for worker, loop in zip(workers, loops, strict=True)]
    print(f"\n{case.name} ({case.readings:,} readings; goal {case.goal})")
    for name, results in (("loop in memory", loops), ("worker, durable", workers)):
        low, middle, high = spread([result.rate for result in results])
        cpu_us = statistics.median(1e6 * result.cpu_seconds / result.readings for result in results)
        print(
            f"  {name:16} {low:>11,.0f} {middle:>11,.0f} {high:>11,.0f} readings/s   {cpu_us:5.2f} us CPU a reading"
            f"   {max(result.peak_mib for result in results):4.0f} MiB"
            f"   {results[0].alerts:,} alerts, {results[0].buckets:,} buckets"
        )
    low, middle, high = spread(ratios)
    print(f"  {'ratio':16} {low:>11.2f} {middle:>11.2f} {high:>11.2f}", flush=True)
    return {
        "case": case.name,
        "readings": case.readings,
        "loop_per_s": [round(value) for value in spread([result.rate for result in loops])],
        "worker_per_s": [round(value) for value in spread([result.rate for result in workers])],
        "ratio": [round(value, 3) for value in spread(ratios)],
        "worker_peak_mib": round(max(result.peak_mib for result in workers)),
        "worker_buckets": sorted({result.buckets for result in workers}),
        "worker_alerts": sorted({result.alerts for result in workers}),
    }


def spread(values: list[float]) -> tuple[float, float, float]:
    """Minimum, median, maximum."""
    return min(values), statistics.median(values), max(values)


def main(only: str = "") -> None:
    """Run the cases whose name contains `only`."""
    with ExitStack() as stack:
        bootstrap = (
            os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
            or stack.enter_context(
                EmbeddedKafka(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-kafka-"))))
            ).bootstrap
        )
        chosen = [(number, case) for number, case in enumerate(CASES) if only in case.name]
        results = [run_case(bootstrap, case, number) for number, case in chosen]
    print(json.dumps({"benchmark": "detect", "runs": RUNS, "cases": results}))


if __name__ == "__main__":
    main(*sys.argv[1:2])
