"""A daily digest of 1,000 units for 200 recipients: how long each part takes, and how much memory.

    python -m benchmarks.digest [--runs 3]

Everything between "it is 7:00" and the last mail at the SMTP server, but for Kafka: 96,000 recorded buckets lie in a
real PostgreSQL; they are read and summed up, drawn and rendered once for °C and once for °F, kept, and one request a
recipient is made (ready and fanned out); then each mail is sent, five at a time, to a real SMTP server on loopback.
The process that is measured has loaded nothing but what the worker loads; the rows are written by another one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import insert, text

from benchmarks.scale import runs, scaled
from benchmarks.stand_ins import MemoryBatch, MemoryEntries, MemoryTable
from database.declarative import from_ms
from database.engine import DatabaseSettings, make_engine
from database.records import AlertRow, UnitAggregateRow
from database.upgrade import upgrade
from database.watermarks import RecorderWatermarkRow
from domain.detection.aggregate_numbers import BUCKET_MS, Grading, Packed, measure
from domain.digest.schedule import period_before
from domain.notification.retry import BackOff, RetryPolicy
from local.mailbox.client import MailboxProcess
from local.postgres import EmbeddedPostgres
from schemas import messages as m
from schemas.topics import ALERTS, EMAIL_REQUESTS, UNIT_AGGREGATES
from streams.digests.digests_to_email import DigestsToEmail
from streams.digests.email_to_provider import Mailing
from streams.digests.job_work import JobWork
from streams.digests.mail.conclusion import Conclusion
from streams.digests.mail.copies import Copies, Links
from streams.digests.mail.ledger import Ledger
from streams.digests.mail.records import EmailRecords
from streams.digests.mail.smtp import Smtp, SmtpServer
from streams.digests.metrics import DigestCounters
from streams.digests.report.rendered_digest import Mailbox
from streams.digests.store import DigestStore
from streams.digests.waiting import Waiting
from streams.engine.publish import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from domain.digest.facts import Digest
    from domain.digest.jobs import Job, Readiness
    from streams.digests.report.rendered_digest import RenderedDigest
    from streams.engine.consumer import Batch
    from streams.engine.publish import Outgoing

UNITS = scaled(1_000, at_least=5)
RECIPIENTS = scaled(200, at_least=3)
ORGANIZATION = "org"
RULE = m.Rule(rule_id="hot", limit=m.Limit.HIGH, severity=m.Severity.CRITICAL, limit_c=5.0)
PERIOD = period_before(m.Cadence.DAILY, "America/New_York", date(2026, 6, 18))
DUE_AT_MS = PERIOD.ends_at_ms + 7 * 3_600_000
URL = "https://freshtrack.example.com"
SECRET = b"a secret of the benchmark"


def unit_id(number: int) -> str:
    return f"unit-{number:04}"


def unit_rows(number: int) -> Iterator[dict[str, object]]:
    """Three readings a bucket; every tenth unit is too warm now and then."""
    graded = Grading(5.0, None, 900_000)
    for at_ms in range(PERIOD.starts_at_ms, PERIOD.ends_at_ms, BUCKET_MS):
        readings = Packed()
        warm = 6.0 if number % 10 == 0 and at_ms // BUCKET_MS % 40 == 0 else 3.0
        readings.append([0, 300_000, 600_000], [warm, warm + 0.4, warm + 0.2])
        bucket = measure(unit_id(number), ORGANIZATION, at_ms, 1, readings, None, graded)
        yield {
            name: getattr(bucket, name)
            for name in UnitAggregateRow.__table__.columns.keys()  # noqa: SIM118 - a collection of columns, no mapping
            if name not in {"starts_at", "first_at", "last_at"}
        } | {"starts_at": from_ms(at_ms)}


async def load(url: str) -> None:
    engine = make_engine(DatabaseSettings(url=url))
    await upgrade(engine)
    async with engine.begin() as connection:
        for first in range(0, UNITS, 10):
            rows = [row for number in range(first, first + 10) for row in unit_rows(number)]
            await connection.execute(insert(UnitAggregateRow), rows)
        alerts = [
            {
                "alert_id": f"alert-{number}",
                "unit_id": unit_id(number),
                "organization_id": ORGANIZATION,
                "rule_id": "hot",
                "kind": "temperature_high",
                "severity": "critical",
                "started_at": from_ms(PERIOD.starts_at_ms + number * 60_000),
                "triggered_at": from_ms(PERIOD.starts_at_ms + number * 60_000),
                "resolved_at": from_ms(PERIOD.starts_at_ms + number * 60_000 + 1_800_000),
            }
            for number in range(0, UNITS, 10)
        ]
        await connection.execute(insert(AlertRow), alerts)
        until = [
            {"topic": topic.name, "partition": number, "recorded_until": datetime.now(UTC)}
            for topic in (UNIT_AGGREGATES, ALERTS)
            for number in range(topic.partitions)
        ]
        await connection.execute(insert(RecorderWatermarkRow), until)
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("ANALYZE"))
    await engine.dispose()


class Published:
    """In place of Kafka: what was published, by topic."""

    def __init__(self) -> None:
        self.by_topic: defaultdict[str, list[bytes]] = defaultdict(list)

    async def publish(self, records: Sequence[Outgoing]) -> None:
        for record in records:
            self.by_topic[name_of(record.topic)].append(record.value or b"")


class TimedStore(DigestStore):
    """The worker's own, with a clock at each part."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self.parts: defaultdict[str, float] = defaultdict(float)

    async def make(self, job: Job, units: Sequence[m.UnitConfig], readiness: Readiness, as_of_ms: int) -> Digest:
        begin = time.perf_counter()
        made = await super().make(job, units, readiness, as_of_ms)
        self.parts["read and sum up, s"] += time.perf_counter() - begin
        return made

    async def rendered(self, job_id: str, display_unit: str) -> RenderedDigest | None:
        begin = time.perf_counter()
        found = await super().rendered(job_id, display_unit)
        self.parts["render and keep, s"] += time.perf_counter() - begin
        return found


def now_ms() -> int:
    return int(time.time() * 1000)


def wanted(number: int, run: int) -> m.DigestWanted:
    return m.DigestWanted(
        digest_id=f"digest-{run}-{number}",
        organization_id=ORGANIZATION,
        user_id=f"user-{number}",
        cadence=m.Cadence.DAILY,
        timezone=PERIOD.timezone,
        run_on=PERIOD.until.isoformat(),
        due_at_ms=DUE_AT_MS + run,
        display_unit="CF"[number % 2],
    )


async def one_run(engine: AsyncEngine, mailbox: MailboxProcess, run: int) -> dict[str, float]:
    units = {
        unit_id(n): m.UnitConfig(
            unit_id=unit_id(n),
            organization_id=ORGANIZATION,
            organization_name="Corner Stores",
            name=f"Cooler {n}",
            rules=(RULE,),
        )
        for n in range(UNITS)
    }
    people = [f"user-{n}" for n in range(RECIPIENTS)]
    contacts = {
        user: m.Contact(user_id=user, organization_id=ORGANIZATION, name=user, email=f"{user}@example.com")
        for user in people
    }
    preferences = {user: m.DigestPreference(user_id=user, organization_id=ORGANIZATION) for user in people}
    store, published = TimedStore(engine), Published()
    records = EmailRecords(now_ms)
    counters, waiting = DigestCounters(), Waiting(store, 10, now_ms)
    jobs = DigestsToEmail(
        work=JobWork(store, units, waiting, published.publish, counters, now_ms),
        waiting=waiting,
        records=records,
        publish=published.publish,
        counters=counters,
        now_ms=now_ms,
        rng=random.Random(1),
    )
    begin = time.perf_counter()
    await jobs.handle(batch_of([wanted(number, run) for number in range(RECIPIENTS)]))
    ready_s = time.perf_counter() - begin
    requests = published.by_topic[EMAIL_REQUESTS.name]
    assert len(requests) == RECIPIENTS, f"{len(requests)} of {RECIPIENTS} mails were asked for"
    parts = dict(store.parts)
    provider = Smtp(SmtpServer(host="127.0.0.1", port=mailbox.smtp_port, security="none"))
    ledger = Ledger(MemoryTable())
    conclusion = Conclusion(records=records, ledger=ledger, publish=published.publish, now_ms=now_ms)
    mailing = Mailing(
        provider=provider,
        copies=Copies(
            store,
            MemoryEntries(contacts),
            MemoryEntries(preferences),
            Mailbox("digests@freshtrack.example.com"),
            Links(URL, SECRET),
            now_ms,
        ),
        conclusion=conclusion,
        ledger=ledger,
        records=records,
        publish=published.publish,
        policy=RetryPolicy(attempts=3, back_off=BackOff.EXPONENTIAL, base_s=2.0),
        deadline_ms=86_400_000,
        concurrency=5,
        now_ms=now_ms,
        rng=random.Random(1),
    )
    begin = time.perf_counter()
    await mailing.handle(batch_of(requests))
    sent_s = time.perf_counter() - begin
    await provider.close()
    assert conclusion.decided["sent"] == RECIPIENTS, f"only {conclusion.decided} mails were taken"
    return parts | {"ready and fanned out, s": ready_s, f"{RECIPIENTS} mails sent, s": sent_s}


def batch_of(values: Sequence[object]) -> Batch:
    return MemoryBatch(values)  # type: ignore[return-value]


async def measure_all(url: str, mailbox: MailboxProcess, runs: int) -> None:
    engine = make_engine(DatabaseSettings(url=url))
    found = [await one_run(engine, mailbox, run) for run in range(runs)]
    await engine.dispose()
    figures = {part: [run[part] for run in found] for part in found[0]}
    for part, values in figures.items():
        print(f"{part:28} {min(values):7.2f} {statistics.median(values):7.2f} {max(values):7.2f}   min median max")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{'peak memory, MB':28} {peak:7}")
    rounded = {part: [round(value, 2) for value in values] for part, values in figures.items()}
    print(json.dumps({"digest": rounded, "peak_mb": peak}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--load", metavar="URL")
    options, _ = parser.parse_known_args()
    if options.load:
        asyncio.run(load(options.load))
        return
    # A line a mail would be most of the output.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with (
        tempfile.TemporaryDirectory(prefix="freshtrack-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as server,
        MailboxProcess(Path(folder)) as mailbox,
    ):
        subprocess.run([sys.executable, "-m", "benchmarks.digest", "--load", server.url], check=True)
        asyncio.run(measure_all(server.url, mailbox, runs(3)))


if __name__ == "__main__":
    main()
