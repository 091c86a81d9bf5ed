"""`digest-jobs` → numbers and letter of each job, once → one `email-requests` record a recipient.

A batch waits until the recorded buckets reach the end of its periods, and no longer than the limit. All jobs wait for
the same watermark, so to wait one after the other takes no longer than to wait side by side.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

import msgspec
import structlog

from domain.digest.jobs import is_recorded, jobs, waits_until_ms
from domain.digest.schedule import ScheduleError
from domain.notification.retry import DIGEST_GENERATION
from schemas import messages as m
from schemas.headers import trace_of
from streams.digests.mail.records import Failure
from streams.digests.progress import progress_of
from streams.digests.source import Readiness
from streams.engine.consumer import Stale
from streams.engine.database_away import is_away
from streams.engine.publish import PublishError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from domain.digest.facts import Digest
    from domain.digest.jobs import Job
    from domain.digest.schedule import Period
    from streams.digests.mail.records import EmailRecords
    from streams.digests.report.rendered_digest import RenderedDigest
    from streams.engine.consumer import Batch, Record
    from streams.engine.publish import Outgoing

log = structlog.get_logger(__name__)

_decode = msgspec.json.Decoder(m.DigestWanted).decode

LOOK_AGAIN_S = 1.0
DATABASE_AGAIN_S = 3.0
# A person who asks for a summary would rather have what there is than wait for a recorder that is away.
ASKED_FOR_LIMIT_S = 15.0


class Store(Protocol):
    async def recorded_until_ms(self) -> int: ...
    async def find(self, job_id: str) -> Digest | None: ...
    async def make(self, job: Job, units: Sequence[m.UnitConfig], readiness: Readiness, as_of_ms: int) -> Digest: ...
    async def rendered(self, job_id: str, display_unit: str) -> RenderedDigest | None: ...


class Units(Protocol):
    def values(self) -> Iterable[m.UnitConfig]: ...


class DigestJobs:
    """Makes each job's summary and asks for its mails; `wait_s` limits the wait for recorded buckets."""

    def __init__(
        self,
        *,
        store: Store,
        units: Units,
        records: EmailRecords,
        publish: Callable[[Sequence[Outgoing]], Awaitable[None]],
        topic_name: Callable[[str], str],
        wait_s: float,
        now_ms: Callable[[], int],
        rng: random.Random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._units = units
        self._records = records
        self._publish = publish
        self._topic_name = topic_name
        self._wait_s = wait_s
        self._now_ms = now_ms
        self._rng = rng
        self._sleep = sleep
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.made = 0
        self.failed = 0
        self.incomplete = 0
        self.queued = 0

    async def handle(self, batch: Batch) -> None:
        """One after the other: to draw the charts takes a processor, and a job that was made is found by the next."""
        wanted: list[m.DigestWanted] = []
        came_with: dict[str, Record] = {}
        for record in batch.records:
            try:
                one = _decode(record.value or b"")
            except msgspec.MsgspecError as error:
                await self._publish(self._records.unreadable(record, str(error)))
                continue
            wanted.append(one)
            came_with[one.digest_id] = record
        for job, shares in jobs(wanted).items():
            if batch.must_end():
                raise Stale
            await self._one(batch, job, shares, came_with)

    async def _one(
        self, batch: Batch, job: Job, shares: Sequence[m.DigestWanted], came_with: dict[str, Record]
    ) -> None:
        try:
            period = job.period
        except (ScheduleError, ValueError) as error:
            await self._give_up(shares, 0, Failure("unusable", type(error).__name__, str(error)), came_with)
            return
        attempt = 0
        wanted_at_ms = min(came_with[share.digest_id].timestamp for share in shares)
        while True:
            try:
                # Those who want the same may come in several batches.
                async with self._locks.setdefault(job.job_id, asyncio.Lock()):
                    await self._make(batch, job, period, shares, wanted_at_ms)
                break
            except (Stale, PublishError):
                raise
            except Exception as error:
                # Whatever one organization's summary fails at, the others' must come.
                why = repr(error).partition("\n")[0][:500]
                if is_away(error):
                    log.warning("digest.database_away", job=job.job_id, why=why)
                    await self._pause(batch, DATABASE_AGAIN_S)
                    continue
                attempt += 1
                log.exception("digest.failed", job=job.job_id, organization=job.organization_id, attempt=attempt)
                if not DIGEST_GENERATION.allows_another(attempt):
                    failure = Failure("exhausted", type(error).__name__, why)
                    await self._give_up(shares, attempt, failure, came_with)
                    await self._tell(shares, period, m.DigestStatus.DEAD, why)
                    return
                await self._pause(batch, DIGEST_GENERATION.delay_s(attempt, self._rng))
        await self._fan_out(job, period, shares, came_with)

    async def _make(
        self, batch: Batch, job: Job, period: Period, shares: Sequence[m.DigestWanted], wanted_at_ms: int
    ) -> None:
        """Afterwards the numbers and a letter for each unit of temperature are kept under the job's id."""
        begin_ms = self._now_ms()
        if await self._store.find(job.job_id) is None:
            readiness = await self._recorded(batch, job, period, shares, wanted_at_ms)
            units = [unit for unit in self._units.values() if unit.organization_id == job.organization_id]
            made = await self._store.make(job, units, readiness, self._now_ms())
            self.made += 1
            self.incomplete += not made.complete
            await self._tell(shares, period, m.DigestStatus.COUNTED)
        for display_unit in sorted({share.display_unit for share in shares}):
            await self._store.rendered(job.job_id, display_unit)
        await self._tell(shares, period, m.DigestStatus.RENDERED)
        log.info("digest.made", job=job.job_id, organization=job.organization_id, took_ms=self._now_ms() - begin_ms)

    async def _recorded(
        self, batch: Batch, job: Job, period: Period, shares: Sequence[m.DigestWanted], wanted_at_ms: int
    ) -> Readiness:
        limit_s = min(self._wait_s, ASKED_FOR_LIMIT_S) if job.asked_for else self._wait_s
        until_ms = waits_until_ms(period, job.due_at_ms, wanted_at_ms, limit_s)
        told = False
        while True:
            recorded_until_ms = await self._store.recorded_until_ms()
            now_ms = self._now_ms()
            complete = is_recorded(period, recorded_until_ms)
            if complete or now_ms >= until_ms:
                waited_ms = max(0, now_ms - max(job.due_at_ms, wanted_at_ms))
                return Readiness(complete, waited_ms, recorded_until_ms)
            if not told:
                told = True
                await self._tell(shares, period, m.DigestStatus.WAITING)
            await self._pause(batch, min(LOOK_AGAIN_S, (until_ms - now_ms) / 1000))

    async def _fan_out(
        self, job: Job, period: Period, shares: Sequence[m.DigestWanted], came_with: dict[str, Record]
    ) -> None:
        now_ms = self._now_ms()
        outgoing: list[Outgoing] = []
        for share in shares:
            request = m.EmailRequest(
                request_id=share.digest_id,
                job_id=job.job_id,
                organization_id=share.organization_id,
                user_id=share.user_id,
                cadence=share.cadence,
                timezone=share.timezone,
                period_starts_at_ms=period.starts_at_ms,
                period_ends_at_ms=period.ends_at_ms,
                display_unit=share.display_unit,
                requested_at_ms=now_ms,
                asked_for=share.asked_for,
                redrives=share.redrives,
            )
            outgoing += self._records.request(request, trace_of(dict(came_with[share.digest_id].headers)))
        await self._publish(outgoing)
        self.queued += len(shares)

    async def _give_up(
        self, shares: Sequence[m.DigestWanted], attempts: int, failure: Failure, came_with: dict[str, Record]
    ) -> None:
        self.failed += 1
        for share in shares:
            await self._publish(self._records.unmade(share, attempts, failure, came_with[share.digest_id]))

    async def _tell(
        self,
        shares: Sequence[m.DigestWanted],
        period: Period,
        status: m.DigestStatus,
        error: str | None = None,
    ) -> None:
        now_ms = self._now_ms()
        await self._publish([progress_of(share, period, status, now_ms, self._topic_name, error) for share in shares])

    async def _pause(self, batch: Batch, seconds: float) -> None:
        """Raises Stale when the partition is about to go: the next owner begins anew."""
        while True:
            if batch.must_end() or not batch.still_ours():
                raise Stale
            if seconds <= 0:
                return
            part = min(seconds, 0.25)
            await self._sleep(part)
            seconds -= part
