"""A daily digest of 1,000 units for 200 recipients: how long each part takes, and how much memory.

    python -m benchmarks.digest

Everything between "it is 7:00" and the last mail at the SMTP server, except Kafka: 96,000 recorded buckets of a day are
read from a real PostgreSQL and summed up, rendered once for °C and once for °F, stored, and requested once a recipient
(ready and fanned out); then each mail is sent, five at a time, to a real SMTP server on loopback. After that a monthly
digest of three million buckets. Another process writes the rows, so this one loads only what the worker loads.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from benchmarks.digest_data import MONTH, ORGANIZATION, PERIOD, RULE, UNITS, unit_id
from benchmarks.scale import runs, scaled
from benchmarks.stand_ins import MemoryBatch, MemoryEntries, MemoryTable
from database.engine import DatabaseSettings, make_engine
from domain.digest.jobs import Job, Readiness
from domain.notification.retry import BackOff, RetryPolicy
from local.guest import temporary_folder
from local.mailbox.client import MailboxProcess
from local.postgres import EmbeddedPostgres
from schemas import messages as m
from schemas.topics import EMAIL_REQUESTS
from streams.digests.digests_to_email import DigestsToEmail
from streams.digests.email_to_provider import Mailing
from streams.digests.job_work import JobWork
from streams.digests.mail.conclusion import Conclusion
from streams.digests.mail.copies import Copies, Links
from streams.digests.mail.ledger import Ledger
from streams.digests.mail.pause import Pause
from streams.digests.mail.records import EmailRecords
from streams.digests.mail.smtp import Smtp, SmtpServer
from streams.digests.metrics import DigestCounters
from streams.digests.report.rendered_digest import Mailbox
from streams.digests.store import DigestStore
from streams.digests.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from domain.digest.facts import Digest
    from streams.digests.report.rendered_digest import RenderedDigest
    from streams.engine.consumer import Batch
    from streams.engine.publish import Outgoing

RECIPIENTS = scaled(200, at_least=3)
DUE_AT_MS = PERIOD.ends_at_ms + 7 * 3_600_000
URL = "https://freshtrack.example.com"
SECRET = b"a secret of the benchmark"


UNIT_CONFIGS = {
    unit_id(n): m.UnitConfig(
        unit_id=unit_id(n),
        organization_id=ORGANIZATION,
        organization_name="Corner Stores",
        name=f"Cooler {n}",
        rules=(RULE,),
    )
    for n in range(UNITS)
}


class Published:
    """In place of Kafka: what was published, by topic."""

    def __init__(self) -> None:
        self.by_topic: defaultdict[str, list[bytes]] = defaultdict(list)

    async def publish(self, records: Sequence[Outgoing]) -> None:
        for record in records:
            self.by_topic[record.topic.name].append(record.value or b"")


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
    store, published = TimedStore(engine), Published()
    counters, waiting = DigestCounters(), Waiting(store, 10, now_ms)
    jobs = DigestsToEmail(
        work=JobWork(store, UNIT_CONFIGS, waiting, published.publish, counters, now_ms),
        waiting=waiting,
        records=EmailRecords(now_ms),
        publish=published.publish,
        counters=counters,
        now_ms=now_ms,
        rng=random.Random(1),
    )
    begin = time.perf_counter()
    await jobs.handle(batch_of([wanted(number, run) for number in range(RECIPIENTS)]))
    ready_s = time.perf_counter() - begin
    parts = dict(store.parts)
    sent_s = await send(store, published, mailbox)
    return parts | {"ready and fanned out, s": ready_s, f"{RECIPIENTS} mails sent, s": sent_s}


async def send(store: DigestStore, published: Published, mailbox: MailboxProcess) -> float:
    """Send the requested mails; returns the seconds that took."""
    requests = published.by_topic[EMAIL_REQUESTS.name]
    assert len(requests) == RECIPIENTS, f"{len(requests)} of {RECIPIENTS} mails were requested"
    people = [f"user-{n}" for n in range(RECIPIENTS)]
    contacts = MemoryEntries(
        {
            user: m.Contact(user_id=user, organization_id=ORGANIZATION, name=user, email=f"{user}@example.com")
            for user in people
        }
    )
    preferences = MemoryEntries(
        {user: m.DigestPreference(user_id=user, organization_id=ORGANIZATION) for user in people}
    )
    sender = Mailbox("digests@freshtrack.example.com")
    records, ledger = EmailRecords(now_ms), Ledger(MemoryTable())
    conclusion = Conclusion(records=records, ledger=ledger, publish=published.publish, now_ms=now_ms)
    provider = Smtp(SmtpServer(host="127.0.0.1", port=mailbox.smtp_port, security="none"))
    mailing = Mailing(
        provider=provider,
        pause=Pause(now_ms, asyncio.sleep),
        copies=Copies(store, contacts, preferences, sender, Links(URL, SECRET), now_ms),
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
    assert conclusion.decided["sent"] == RECIPIENTS, f"only {conclusion.decided} mails were sent"
    return sent_s


def batch_of(values: Sequence[object]) -> Batch:
    return MemoryBatch(values)  # type: ignore[return-value]


async def one_month(engine: AsyncEngine, run: int) -> dict[str, float]:
    """The monthly digest: read, sum up and render."""
    due_at_ms = MONTH.ends_at_ms + 8 * 3_600_000 + run
    job = Job(ORGANIZATION, m.Cadence.MONTHLY, MONTH.timezone, MONTH.until.isoformat(), due_at_ms)
    store = DigestStore(engine)
    begin = time.perf_counter()
    whole = Readiness(complete=True, waited_ms=0, recorded_until_ms=due_at_ms)
    made = await store.make(job, list(UNIT_CONFIGS.values()), whole, due_at_ms)
    await store.rendered(job.job_id, "C")
    assert made.numbers.total_readings >= UNITS * 96 * 28
    return {"monthly digest, s": time.perf_counter() - begin}


async def measure_all(url: str, mailbox: MailboxProcess, runs: int) -> None:
    engine = make_engine(DatabaseSettings(url=url))
    found = [await one_run(engine, mailbox, run) | await one_month(engine, run) for run in range(runs)]
    await engine.dispose()
    figures = {part: [run[part] for run in found] for part in found[0]}
    for part, values in figures.items():
        print(f"{part:28} {min(values):7.2f} {statistics.median(values):7.2f} {max(values):7.2f}   min median max")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{'peak memory, MB':28} {peak:7}")
    rounded = {part: [round(value, 2) for value in values] for part, values in figures.items()}
    print(json.dumps({"digest": rounded, "peak_mb": peak}))


def main() -> None:
    # A line a mail would be most of the output.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with (
        temporary_folder("freshtrack-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as server,
        MailboxProcess(Path(folder)) as mailbox,
    ):
        subprocess.run([sys.executable, "-m", "benchmarks.digest_data", server.url], check=True)
        asyncio.run(measure_all(server.url, mailbox, runs(3)))


if __name__ == "__main__":
    main()
