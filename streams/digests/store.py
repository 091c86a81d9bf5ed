"""What jobs store in SQL: the numbers, and the rendered digests that mails are copied from.

A rendered digest may be a megabyte and goes to hundreds of people, so it does not travel through Kafka. A mail request
names its job; the sender reads the rendered digest here once and caches the newest few in memory.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from database.declarative import to_ms
from database.digests import DigestReportRow, RenderedDigestRow
from database.watermarks import recorded_until
from schemas.topics import ALERTS
from streams.digests.report.render import render
from streams.digests.report.rendered_digest import RenderedDigest
from streams.digests.reports import report_row, unpacked
from streams.digests.source import made_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from domain.digest.facts import Digest
    from domain.digest.jobs import Job, Readiness
    from schemas import messages as m

RENDERED_AT_MOST = 12
BYTES_AT_MOST = 48 << 20

_decode_rendered = msgspec.msgpack.Decoder(RenderedDigest).decode
_encode = msgspec.msgpack.Encoder().encode


class DigestStore:
    """Raises what SQLAlchemy raises, and OSError while the database is unreachable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._cache = RenderedCache()

    async def recorded_until_ms(self) -> int:
        """Until when buckets and alerts are whole; 0 where the recorder has never run."""
        async with self._engine.connect() as connection:
            buckets, alerts = await recorded_until(connection), await recorded_until(connection, ALERTS)
            return max(0, to_ms(min(buckets, alerts)))

    async def make(self, job: Job, units: Sequence[m.UnitConfig], readiness: Readiness, as_of_ms: int) -> Digest:
        """Compute and store the job's numbers; if two workers do so at once, the first to store wins."""
        made = await made_digest(self._engine, job, units, readiness, as_of_ms)
        row = await asyncio.to_thread(report_row, job, made, readiness)
        async with self._engine.begin() as connection:
            await connection.execute(insert(DigestReportRow).values(row).on_conflict_do_nothing())
        return await self.find(job.job_id) or made

    async def find(self, job_id: str) -> Digest | None:
        """The stored numbers of a job."""
        report = DigestReportRow.__table__.c
        async with self._engine.connect() as connection:
            content = await connection.scalar(select(report.content).where(report.job_id == job_id))
        return None if content is None else await asyncio.to_thread(unpacked, content)

    async def rendered(self, job_id: str, display_unit: str) -> RenderedDigest | None:
        """Render the job's digest, or find it rendered; null when the job has no numbers yet."""
        async with self._cache.one_at_a_time:
            kept = self._cache.get(job_id, display_unit) or await self._read_rendered(job_id, display_unit)
            if kept is None and (numbers := await self.find(job_id)) is not None:
                kept = await self._write_rendered(job_id, display_unit, numbers)
            if kept is not None:
                self._cache.put(job_id, display_unit, kept)
            return kept

    async def _read_rendered(self, job_id: str, display_unit: str) -> RenderedDigest | None:
        row = RenderedDigestRow.__table__.c
        async with self._engine.connect() as connection:
            content = await connection.scalar(
                select(row.content).where(row.job_id == job_id, row.display_unit == display_unit)
            )
        return None if content is None else _decode_rendered(content)

    async def _write_rendered(self, job_id: str, display_unit: str, numbers: Digest) -> RenderedDigest:
        made = await asyncio.to_thread(render, numbers, display_unit)
        row = {"job_id": job_id, "display_unit": display_unit, "content": _encode(made)}
        async with self._engine.begin() as connection:
            await connection.execute(insert(RenderedDigestRow).values(row).on_conflict_do_nothing())
        return made


class RenderedCache:
    """The rendered digests used last."""

    def __init__(self) -> None:
        self.one_at_a_time = asyncio.Lock()
        self._kept: OrderedDict[tuple[str, str], RenderedDigest] = OrderedDict()

    def get(self, job_id: str, display_unit: str) -> RenderedDigest | None:
        found = self._kept.get((job_id, display_unit))
        if found is not None:
            self._kept.move_to_end((job_id, display_unit))
        return found

    def put(self, job_id: str, display_unit: str, rendered: RenderedDigest) -> None:
        self._kept[job_id, display_unit] = rendered
        self._kept.move_to_end((job_id, display_unit))
        while len(self._kept) > RENDERED_AT_MOST or (len(self._kept) > 1 and self._bytes() > BYTES_AT_MOST):
            self._kept.popitem(last=False)

    def _bytes(self) -> int:
        return sum(
            len(rendered.html) + len(rendered.text) + sum(len(one.content) for one in rendered.enclosures)
            for rendered in self._kept.values()
        )
