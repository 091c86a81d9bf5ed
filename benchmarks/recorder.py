"""The recorder: rows a second from Kafka into SQL, as it is deployed, with a backlog of outcomes and buckets.

Beside it, in the same run, stand plain batches: the same rows, ready in memory, put into tables of the same shape and
indexes by `executemany` in transactions of 1,000 rows, without Kafka, decoding, offsets or conflicts.
Run: `./freshtrack bench recorder`.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg
import uvloop
from confluent_kafka import Producer
from sqlalchemy import make_url

from benchmarks.detect import forget
from benchmarks.scale import runs, scaled
from broker.partition_counts import PartitionCounts
from broker.topics import create_topics
from database.declarative import from_ms
from database.engine import DatabaseSettings, make_engine
from database.upgrade import upgrade
from local.guest import temporary_folder
from local.kafka import EmbeddedKafka
from local.postgres import EmbeddedPostgres
from schemas import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[1]
ROWS = scaled(100_000, at_least=200)  # of each of the two topics
BUCKETS_A_UNIT = 50
BATCH = 1_000
RUNS = runs(3)
LIMIT_S = 120
PREFIX = "bench."
NOW_MS = 1_790_000_100_000


class Row(NamedTuple):
    table: str
    topic: str
    key: str
    message: m.SmsSent | m.AggregateBucket


def made() -> Iterator[Row]:
    """An outcome and a bucket in turn."""
    for number in range(ROWS):
        user = f"user-{number % 5_000}"
        sent = m.SmsSent(
            request_id=f"9f6c2d3e-0000-5000-8000-{number:012d}",
            alert_id=f"1b0f2a77-0000-5000-8000-{number // 3:012d}",
            organization_id=f"organization-{number % 50}",
            user_id=user,
            kind=m.AlertKind.TEMPERATURE_HIGH,
            severity=m.Severity.CRITICAL,
            attempt=1,
            at_ms=NOW_MS + number,
            provider_message_id=f"40385f64-5717-4562-b3fc-{number:012d}",
            parts=1,
            breach_at_ms=NOW_MS + number - 40,
            latency_ms=40,
        )
        yield Row("sms_alert_log", "sms-outcomes", user, sent)
        unit = f"unit-{number // BUCKETS_A_UNIT:05d}"
        bucket = m.AggregateBucket(
            unit_id=unit,
            organization_id=f"organization-{number % 50}",
            starts_at_ms=NOW_MS + (number % BUCKETS_A_UNIT) * 900_000,
            revision=1,
            count=15,
            sum_c=64.5,
            min_c=3.9,
            max_c=4.8,
            first_c=4.1,
            last_c=4.2,
            above_s=0.0,
            below_s=0.0,
            covered_s=900.0,
            mkt_seconds=900.0,
            mkt_sum=1.25e-16,
            excursions=0,
            first_at_ms=NOW_MS + (number % BUCKETS_A_UNIT) * 900_000 + 1_000,
            last_at_ms=NOW_MS + (number % BUCKETS_A_UNIT) * 900_000 + 899_000,
            high_c=8.0,
        )
        yield Row("unit_aggregates", "unit-aggregates", unit, bucket)


def columns(row: Row) -> dict[str, Any]:
    """The columns of a row and its values, as a plain program would write them."""
    message = row.message
    if isinstance(message, m.SmsSent):
        names = ("request_id", "alert_id", "organization_id", "user_id", "attempt", "provider_message_id", "parts")
        found = {name: getattr(message, name) for name in (*names, "latency_ms")}
        return found | {"kind": "temperature_high", "severity": "critical", "outcome": "sent"} | _at(at=message.at_ms)
    times = _at(starts_at=message.starts_at_ms, first_at=message.first_at_ms, last_at=message.last_at_ms)
    return {name: getattr(message, name) for name in message.__struct_fields__ if not name.endswith("_ms")} | times


def _at(**times: int | None) -> dict[str, Any]:
    return {name: None if at_ms is None else from_ms(at_ms) for name, at_ms in times.items()}


def produce(bootstrap: str) -> None:
    create_topics({"bootstrap.servers": bootstrap}, prefix=PREFIX, partitions=PartitionCounts(4))
    settings: dict[str, Any] = {"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 20}
    producer = Producer(settings | {"enable.idempotence": True, "queue.buffering.max.messages": 1_000_000})
    for row in made():
        producer.produce(PREFIX + row.topic, m.encode(row.message), key=row.key)
        producer.poll(0)
    producer.flush(120)


def socket_of(url: str, database: str) -> Mapping[str, str]:
    """Where asyncpg finds it."""
    return {"host": str(make_url(url).query["host"]), "user": "postgres", "database": database}


async def new_database(url: str, name: str) -> str:
    """A migrated database of its own; returns its address."""
    connection = await asyncpg.connect(**socket_of(url, "postgres"))
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    address = make_url(url).set(database=name).render_as_string(hide_password=False)
    engine = make_engine(DatabaseSettings(url=address))
    await upgrade(engine)
    await engine.dispose()
    return address


async def plain(url: str, name: str) -> float:
    """Rows a second."""
    await new_database(url, name)
    connection = await asyncpg.connect(**socket_of(url, name))
    rows: dict[str, list[dict[str, Any]]] = {"sms_alert_log": [], "unit_aggregates": []}
    for row in made():
        rows[row.table].append(columns(row))
    begin = time.perf_counter()
    for table, mine in rows.items():
        names = list(mine[0])
        values = ", ".join(f"${number}" for number in range(1, len(names) + 1))
        insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})"  # noqa: S608 - constant names
        for start in range(0, len(mine), BATCH):
            async with connection.transaction():
                await connection.executemany(insert, [tuple(row.values()) for row in mine[start : start + BATCH]])
    took_s = time.perf_counter() - begin
    await connection.close()
    return 2 * ROWS / took_s


async def recorder(url: str, name: str, bootstrap: str, folder: Path) -> float:
    """Rows a second, from the first batch that is in SQL to the last."""
    address = await new_database(url, name)
    connection = await asyncpg.connect(**socket_of(url, name))
    environment = {"DATABASE_URL": address, "KAFKA_BOOTSTRAP_SERVERS": bootstrap, "KAFKA_TOPIC_PREFIX": PREFIX}
    process = subprocess.Popen(  # noqa: ASYNC220 - nothing else waits meanwhile
        [sys.executable, "-m", "cli", "worker", "recorder"],
        cwd=ROOT,
        env=os.environ | environment | {"DATA_DIR": str(folder / name)},
    )
    try:
        first, first_at = 0, 0.0
        deadline = time.perf_counter() + LIMIT_S
        while (done := int(await connection.fetchval("SELECT sum(next_offset) FROM recorder_offsets") or 0)) < 2 * ROWS:
            if done and not first:
                first, first_at = done, time.perf_counter()
            if time.perf_counter() > deadline or process.poll() is not None:
                raise SystemExit(f"the recorder wrote {done} of {2 * ROWS} rows within {LIMIT_S} s")
            await asyncio.sleep(0.02)
        rate = (done - first) / (time.perf_counter() - first_at)
        tables = ("sms_alert_log", "unit_aggregates")
        found = [int(await connection.fetchval(f"SELECT count(*) FROM {table}")) for table in tables]  # noqa: S608
        if found != [ROWS, ROWS]:
            raise SystemExit(f"the tables have {found} rows")
    finally:
        process.terminate()
        process.wait(60)
        await connection.close()
    return rate


def main() -> None:
    """Prints a table, and a JSON line with min, median and max of each."""
    figures: dict[str, list[float]] = {"plain": [], "recorder": [], "ratio": []}
    with (
        temporary_folder("bench-recorder-") as name,
        EmbeddedKafka(Path(name) / "kafka") as broker,
        EmbeddedPostgres(Path(name) / "postgres") as database,
    ):
        produce(broker.bootstrap)
        for run in range(RUNS):
            figures["plain"].append(uvloop.run(plain(database.url, f"plain_{run}")))
            figures["recorder"].append(
                uvloop.run(recorder(database.url, f"recorder_{run}", broker.bootstrap, Path(name)))
            )
            figures["ratio"].append(figures["recorder"][-1] / figures["plain"][-1])
            forget(broker.bootstrap, PREFIX)
    summary = {which: [round(f(rates), 2) for f in (min, statistics.median, max)] for which, rates in figures.items()}
    print(f"{2 * ROWS:,} rows, half outcomes of SMS and half buckets; rows/s")
    print(f"{'':10} {'min':>9} {'median':>9} {'max':>9}")
    for which, (low, middle, high) in summary.items():
        print(f"{which:10} {low:>9,} {middle:>9,} {high:>9,}")
    print(json.dumps({"benchmark": "recorder", "rows": 2 * ROWS, "runs": RUNS, **summary}))


if __name__ == "__main__":
    main()
