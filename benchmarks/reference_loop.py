"""What one Python process reaches at best: confluent-kafka and msgspec, state in memory, nothing durable.

    python -m benchmarks.reference_loop TOPIC READINGS

Per unit a breach flag with hysteresis (an alert record on each change) and 15-minute windows with the numbers that the
worker publishes, computed when a window closes: two minutes of event time after its end. It trusts its input: readings
in order, each once, of known units. Prints one JSON line: readings, seconds, alerts, buckets, CPU seconds and the
peak of its memory.
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import time
import uuid
from itertools import chain
from typing import TYPE_CHECKING

import msgspec
from confluent_kafka import Consumer, Producer

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT_C = 8.0
CLEAR_C = 7.0
LOW_C = 1.0
WINDOW_MS = 900_000
GRACE_MS = 120_000
VOUCH_MS = 900_000
DH_OVER_R_K = 83.144 / 8.3144e-3


class Reading(msgspec.Struct):
    at_ms: int
    temperature_c: float


class Batch(msgspec.Struct):
    unit_id: str
    readings: list[Reading]


class Window(msgspec.Struct):
    start: int
    times: list[int]
    temperatures: list[float]


class Numbers(msgspec.Struct):
    unit_id: str
    starts_at_ms: int
    count: int
    sum_c: float
    min_c: float
    max_c: float
    first_c: float
    last_c: float
    above_s: float
    below_s: float
    covered_s: float
    mkt_sum: float
    excursions: int
    last_at_ms: int


def numbers(unit: str, window: Window, before: tuple[int, float] | None) -> Numbers:
    """Each reading lasts until the next, at most `VOUCH_MS`."""
    times, temperatures, end = window.times, window.temperatures, window.start + WINDOW_MS
    above = below = covered = excursions = side = 0
    kinetic = 0.0
    spans: Iterable[tuple[int, int, float]] = zip(times, [*times[1:], end], temperatures, strict=True)
    if before is not None:
        spans = chain([(window.start, min(times[0], before[0] + VOUCH_MS), before[1])], spans)
        side = (before[1] > LIMIT_C) - (before[1] < LOW_C)
    for at, until, c in spans:
        lasts = max(0, min(until - at, VOUCH_MS))
        covered += lasts
        kinetic += math.exp(-DH_OVER_R_K / (c + 273.15)) * lasts
        now = (c > LIMIT_C) - (c < LOW_C)
        if now > 0:
            above += lasts
        elif now < 0:
            below += lasts
        if now and now != side:
            excursions += 1
        side = now
    return Numbers(
        unit,
        window.start,
        len(times),
        sum(temperatures),
        min(temperatures),
        max(temperatures),
        temperatures[0],
        temperatures[-1],
        above / 1000,
        below / 1000,
        covered / 1000,
        kinetic / 1000,
        excursions,
        times[-1],
    )


def consume(bootstrap: str, topic: str, wanted: int) -> dict[str, float]:
    """Read `wanted` readings; the clock starts when the first records are here."""
    decode = msgspec.json.Decoder(Batch).decode
    # With librdkafka's own fetch.queue.backoff.ms (1000) the fetcher rests whenever 100,000 messages are queued.
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"loop-{uuid.uuid4().hex}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 5,
        }
    )
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20})
    consumer.subscribe([topic])
    breached: dict[str, bool] = {}
    windows: dict[str, list[Window]] = {}
    last: dict[str, tuple[int, float]] = {}
    seen = alerts = buckets = 0
    begin = cpu = 0.0
    while seen < wanted:
        messages = consumer.consume(5000, 0.2)
        if messages and not begin:
            begin, cpu = time.perf_counter(), time.process_time()
        for message in messages:
            batch = decode(message.value())  # type: ignore[arg-type]
            unit = batch.unit_id
            for reading in batch.readings:
                seen += 1
                c = reading.temperature_c
                was = breached.get(unit, False)
                now = c > CLEAR_C if was else c > LIMIT_C
                if now is not was:
                    breached[unit] = now
                    alerts += 1
                    producer.produce(
                        f"{topic}-loop-alerts", msgspec.json.encode((unit, reading.at_ms, c, now)), key=unit
                    )
                start = reading.at_ms - reading.at_ms % WINDOW_MS
                mine = windows.get(unit)
                if mine is None:
                    mine = windows[unit] = []
                if not mine or mine[-1].start != start:
                    mine.append(Window(start, [], []))
                window = mine[-1]
                window.times.append(reading.at_ms)
                window.temperatures.append(c)
                while mine[0].start + WINDOW_MS + GRACE_MS <= reading.at_ms:
                    closed = numbers(unit, mine.pop(0), last.get(unit))
                    buckets += 1
                    last[unit] = closed.last_at_ms, closed.last_c
                    producer.produce(f"{topic}-loop-buckets", msgspec.json.encode(closed), key=unit)
        producer.poll(0)
    if left := producer.flush(10):
        raise SystemExit(f"{left} records were not acknowledged within 10 s: the figures would count the wait")
    return {
        "readings": seen,
        "seconds": time.perf_counter() - begin,
        "alerts": alerts,
        "buckets": buckets,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    print(json.dumps(consume(os.environ["KAFKA_BOOTSTRAP_SERVERS"], sys.argv[1], int(sys.argv[2]))), flush=True)
