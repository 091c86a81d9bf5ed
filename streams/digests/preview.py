"""A digest to look at: made from what is recorded now, neither stored nor sent."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from database.declarative import to_ms
from database.watermarks import recorded_until
from domain.digest.facts import Digest  # noqa: TC001 - msgspec reads the annotations
from domain.digest.jobs import Job, Readiness, is_recorded
from domain.digest.plan import newest_period
from streams.digests.report.render import render
from streams.digests.report.rendered_digest import RenderedDigest  # noqa: TC001 - same
from streams.digests.source import made_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from schemas import messages as m


class Preview(Struct, frozen=True):
    digest: Digest
    rendered: RenderedDigest


async def preview(
    engine: AsyncEngine,
    organization_id: str,
    units: Sequence[m.UnitConfig],
    *,
    cadence: m.Cadence,
    timezone: str,
    display_unit: str,
    now: datetime,
) -> Preview:
    """The newest whole period. Raises ScheduleError for a timezone that is unknown here."""
    now_ms = to_ms(now.astimezone(UTC))
    period = newest_period(cadence, timezone, now_ms)
    job = Job(organization_id, cadence, timezone, period.until.isoformat(), now_ms, asked_for=True)
    async with engine.connect() as connection:
        recorded_until_ms = max(0, to_ms(await recorded_until(connection)))
    readiness = Readiness(is_recorded(period, recorded_until_ms), 0, recorded_until_ms)
    digest = await made_digest(engine, job, units, readiness, now_ms)
    rendered = await asyncio.to_thread(render, digest, display_unit)
    return Preview(digest, rendered)


def with_pictures(rendered: RenderedDigest) -> str:
    """The HTML part with its pictures inside, for a browser."""
    html = rendered.html
    for enclosure in rendered.enclosures:
        if enclosure.cid:
            content = base64.b64encode(enclosure.content).decode()
            html = html.replace(f"cid:{enclosure.cid}", f"data:{enclosure.content_type};base64,{content}")
    return html
