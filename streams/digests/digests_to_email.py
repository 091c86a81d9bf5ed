"""`digest-jobs` → each job's numbers and rendered digests, once → one `email-requests` record a recipient.

A batch waits until the recorded buckets reach the end of its periods, up to a limit. All jobs wait for the same
watermark, so waiting one after the other takes no longer than waiting side by side.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakValueDictionary

import structlog

from domain.digest.jobs import jobs
from domain.digest.schedule import ScheduleError
from domain.notification.retry import DIGEST_GENERATION
from schemas import messages as m
from schemas.headers import trace_of
from schemas.topics import DIGEST_JOBS, EMAIL_DLQ
from streams.digests.mail.records import Failure
from streams.engine.consumer import Stale
from streams.engine.database_away import is_away
from streams.engine.decoding import decoded
from streams.engine.publish import PublishError

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from domain.digest.jobs import Job
    from streams.digests.job_work import JobWork
    from streams.digests.mail.records import EmailRecords
    from streams.digests.metrics import DigestCounters
    from streams.digests.waiting import Waiting
    from streams.engine.consumer import Batch, Record
    from streams.engine.interfaces import Clock, Publish

log = structlog.get_logger(__name__)

DATABASE_AGAIN_S = 3.0


class Shares(NamedTuple):
    """Who wants the digest of one job, and the records that said so."""

    wanted: Sequence[m.DigestWanted]
    came_with: dict[str, Record]

    @property
    def since_ms(self) -> int:
        return min(self.came_with[one.digest_id].timestamp for one in self.wanted)


class DigestsToEmail:
    """Makes each job's digest and requests its mails; a job that fails is retried, then a dead letter."""

    def __init__(
        self,
        *,
        work: JobWork,
        waiting: Waiting,
        records: EmailRecords,
        publish: Publish,
        counters: DigestCounters,
        now_ms: Clock,
        rng: random.Random,
    ) -> None:
        self._work = work
        self._waiting = waiting
        self._records = records
        self._publish = publish
        self._counters = counters
        self._now_ms = now_ms
        self._rng = rng
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def handle(self, batch: Batch) -> None:
        """One job after the other: charts take a processor, and the next job finds what the one before has made."""
        messages, dead = decoded(batch, DIGEST_JOBS, EMAIL_DLQ, self._now_ms())
        await self._publish(dead)
        came_with = {one.digest_id: record for record, one in messages}
        for job, wanted in jobs(one for _, one in messages).items():
            if batch.must_end():
                raise Stale
            await self._one(batch, job, Shares(wanted, came_with))

    async def _one(self, batch: Batch, job: Job, shares: Shares) -> None:
        try:
            _ = job.period
        except (ScheduleError, ValueError) as error:
            await self._give_up(shares, 0, Failure("unusable", type(error).__name__, str(error)))
            return
        attempt = 0
        while True:
            try:
                # Those who want the same may come in several batches.
                async with self._locks.setdefault(job.job_id, asyncio.Lock()):
                    await self._work.make(batch, job, shares.wanted, shares.since_ms)
                break
            except (Stale, PublishError):
                raise
            except Exception as error:
                # A digest that fails must not hold up those of other organizations.
                why = repr(error).partition("\n")[0][:500]
                if is_away(error):
                    log.warning("digest.database_away", job=job.job_id, why=why)
                    await self._waiting.pause(batch, DATABASE_AGAIN_S)
                    continue
                attempt += 1
                log.exception("digest.failed", job=job.job_id, organization=job.organization_id, attempt=attempt)
                if not DIGEST_GENERATION.allows_another(attempt):
                    await self._give_up(shares, attempt, Failure("exhausted", type(error).__name__, why))
                    await self._work.report(job, shares.wanted, m.DigestStatus.DEAD, why)
                    return
                await self._waiting.pause(batch, DIGEST_GENERATION.delay_s(attempt, self._rng))
        await self._fan_out(job, shares)

    async def _fan_out(self, job: Job, shares: Shares) -> None:
        outgoing = []
        for one in shares.wanted:
            trace = trace_of(dict(shares.came_with[one.digest_id].headers))
            outgoing += self._records.request(mail_request(job, one, self._now_ms()), trace)
        await self._publish(outgoing)
        self._counters.queued += len(shares.wanted)

    async def _give_up(self, shares: Shares, attempts: int, failure: Failure) -> None:
        self._counters.failed += 1
        for one in shares.wanted:
            await self._publish(self._records.unmade(one, attempts, failure, shares.came_with[one.digest_id]))


def mail_request(job: Job, one: m.DigestWanted, now_ms: int) -> m.EmailRequest:
    return m.EmailRequest(
        request_id=one.digest_id,
        job_id=job.job_id,
        organization_id=one.organization_id,
        user_id=one.user_id,
        cadence=one.cadence,
        timezone=one.timezone,
        period_starts_at_ms=job.period.starts_at_ms,
        period_ends_at_ms=job.period.ends_at_ms,
        display_unit=one.display_unit,
        requested_at_ms=now_ms,
        asked_for=one.asked_for,
        redrives=one.redrives,
    )
