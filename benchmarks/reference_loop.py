"""What one Python process reaches at best: confluent-kafka and msgspec, state in memory, nothing durable.

    python -m benchmarks.reference_loop TOPIC READINGS

Per unit a breach flag with hysteresis (an alert record on each change) and a 15-minute window of count, sum, minimum
and maximum. Prints one JSON line: readings, seconds, alerts, CPU seconds and the peak of its memory.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import uuid

import msgspec
from confluent_kafka import Consumer, Producer

LIMIT_C = 8.0
CLEAR_C = 7.0
WINDOW_MS = 900_000


class Reading(msgspec.Struct):
    at_ms: int
    temperature_c: float


class Batch(msgspec.Struct):
    unit_id: str
    readings: list[Reading]


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
    windows: dict[tuple[str, int], list[float]] = {}
    seen = alerts = 0
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
                key = unit, reading.at_ms // WINDOW_MS
                window = windows.get(key)
                if window is None:
                    windows[key] = [1, c, c, c]
                else:
                    window[0] += 1
                    window[1] += c
                    if c < window[2]:
                        window[2] = c
                    elif c > window[3]:
                        window[3] = c
        producer.poll(0)
    if left := producer.flush(10):
        raise SystemExit(f"{left} alerts were not acknowledged within 10 s: the figures would count the wait")
    return {
        "readings": seen,
        "seconds": time.perf_counter() - begin,
        "alerts": alerts,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    print(json.dumps(consume(os.environ["KAFKA_BOOTSTRAP_SERVERS"], sys.argv[1], int(sys.argv[2]))), flush=True)
