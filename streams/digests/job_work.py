"""One job's work: its numbers, and a rendered digest for each unit of temperature, stored under the job's id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog

from schemas import messages as m
from streams.digests.progress import progress_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from domain.digest.facts import Digest
    from domain.digest.jobs import Job, Readiness
    from streams.digests.metrics import DigestCounters
    from streams.digests.report.rendered_digest import RenderedDigest
    from streams.digests.waiting import Waiting
    from streams.engine.consumer import Batch
    from streams.engine.interfaces import Clock, Publish

log = structlog.get_logger(__name__)


class Store(Protocol):
    async def find(self, job_id: str) -> Digest | None: ...
    async def make(self, job: Job, units: Sequence[m.UnitConfig], readiness: Readiness, as_of_ms: int) -> Digest: ...
    async def rendered(self, job_id: str, display_unit: str) -> RenderedDigest | None: ...


class Units(Protocol):
    def values(self) -> Iterable[m.UnitConfig]: ...


class JobWork:
    def __init__(
        self,
        store: Store,
        units: Units,
        waiting: Waiting,
        publish: Publish,
        counters: DigestCounters,
        now_ms: Clock,
    ) -> None:
        self._store = store
        self._units = units
        self._waiting = waiting
        self._publish = publish
        self._counters = counters
        self._now_ms = now_ms

    async def make(self, batch: Batch, job: Job, shares: Sequence[m.DigestWanted], wanted_at_ms: int) -> None:
        """Compute and render what is not stored yet, and report progress to each user."""
        begin_ms = self._now_ms()
        if await self._store.find(job.job_id) is None:

            async def report_wait() -> None:
                await self.report(job, shares, m.DigestStatus.WAITING)

            readiness = await self._waiting.until_recorded(batch, job, wanted_at_ms, report_wait)
            units = [unit for unit in self._units.values() if _belongs(unit, job)]
            made = await self._store.make(job, units, readiness, self._now_ms())
            self._counters.made += 1
            self._counters.incomplete += not made.complete
            await self.report(job, shares, m.DigestStatus.COUNTED)
        for display_unit in sorted({share.display_unit for share in shares}):
            await self._store.rendered(job.job_id, display_unit)
        await self.report(job, shares, m.DigestStatus.RENDERED)
        log.info("digest.made", job=job.job_id, organization=job.organization_id, took_ms=self._now_ms() - begin_ms)

    async def report(
        self, job: Job, shares: Sequence[m.DigestWanted], status: m.DigestStatus, error: str | None = None
    ) -> None:
        now_ms = self._now_ms()
        await self._publish([progress_of(share, job.period, status, now_ms, error) for share in shares])


def _belongs(unit: m.UnitConfig, job: Job) -> bool:
    return unit.organization_id == job.organization_id and (not job.unit_ids or unit.unit_id in job.unit_ids)
