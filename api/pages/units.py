"""One unit: its history, its limits, its alerts."""

import csv
import io
from datetime import datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.organizations import organization_of
from api.ownership import row_of
from api.pages import live_units
from api.pages.alert_words import alert_line
from api.pages.rendering import page
from api.pages.unit_history import LENGTHS, Stretch, history
from api.pages.viewer import Looking
from api.services import Used
from database.configuration import MaintenanceWindowRow, UnitRow
from database.declarative import from_ms, to_ms
from database.records import AlertRow
from schemas.http.fields import ID_PATTERN

router = APIRouter(include_in_schema=False)

UnitId = Annotated[str, Path(pattern=ID_PATTERN)]
Wanted = Annotated[Stretch, Query(alias="stretch")]
ALERTS = 20
LABELS = {Stretch.HOURS: "2 hours", Stretch.DAY: "Day", Stretch.MONTH: "30 days", Stretch.YEAR: "Year"}


@router.get("/units/{unit_id}/history.csv")
async def download(unit_id: UnitId, viewer: Looking, services: Used, stretch: Wanted = Stretch.DAY) -> Response:
    """What the chart shows, in °C, with UTC times."""
    async with services.transaction() as session:
        organization = await organization_of(session, viewer.caller.organization_id)
        unit = await row_of(session, UnitRow, viewer.caller, unit_id)
        points = await history(
            session,
            services.live,
            viewer.caller.organization_id,
            unit.unit_id,
            stretch,
            organization.timezone,
            to_ms(services.now()),
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(("time_utc", "min_c", "mean_c", "max_c"))
    for point in points:
        at = from_ms(point.at_ms).isoformat(timespec="seconds")
        writer.writerow(
            (at, *("" if value is None else f"{value:.2f}" for value in (point.min_c, point.mean_c, point.max_c)))
        )
    name = f"temperatures-{stretch}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text.getvalue(), media_type="text/csv", headers=headers)


@router.get("/units/{unit_id}")
async def show_unit(unit_id: UnitId, viewer: Looking, services: Used, stretch: Wanted = Stretch.DAY) -> Response:
    services.live.start()
    now_ms, organization_id = to_ms(services.now()), viewer.caller.organization_id
    since = from_ms(now_ms) - LENGTHS[stretch]
    async with services.transaction() as session:
        organization = await organization_of(session, organization_id)
        unit = await row_of(session, UnitRow, viewer.caller, unit_id)
        facts = await live_units.facts(session, organization_id, unit_ids=[unit.unit_id])
        firing = await live_units.open_alerts(session, organization_id, services.live, [unit.unit_id])
        timezone = organization.timezone
        points = await history(session, services.live, organization_id, unit.unit_id, stretch, timezone, now_ms)
        alerts = await _alerts(session, organization_id, unit.unit_id)
        maintenance = await _maintenance(session, unit.unit_id, since)
    [tile] = live_units.tiles(facts, firing, services.live, now_ms)
    chart = {
        "points": points,
        "high_c": tile.fact.high_c,
        "low_c": tile.fact.low_c,
        "display_unit": organization.display_unit,
        "alerts": [(to_ms(one.started_at), to_ms(one.resolved_at or services.now())) for one in alerts],
        "maintenance": [(begin, end) for begin, end, _ in maintenance],
        "begins_ms": to_ms(since),
        "ends_ms": now_ms,
    }
    return page(
        "unit.html",
        viewer,
        section="Live",
        unit=unit,
        tile=tile,
        chart=msgspec.json.encode(chart).decode(),
        points=points,
        alerts=[alert_line(one, unit.name, organization.display_unit, now_ms) for one in alerts],
        maintenance=maintenance,
        stretch=stretch,
        labels=LABELS,
        display_unit=organization.display_unit,
        timezone=timezone,
        now_ms=now_ms,
    )


async def _alerts(session: AsyncSession, organization_id: str, unit_id: str) -> list[AlertRow]:
    """The newest first."""
    mine = select(AlertRow).where(AlertRow.organization_id == organization_id, AlertRow.unit_id == unit_id)
    return list(await session.scalars(mine.order_by(AlertRow.started_at.desc()).limit(ALERTS)))


async def _maintenance(session: AsyncSession, unit_id: str, since: datetime) -> list[tuple[int, int, str]]:
    """Begin, end and reason of the windows that end after `since`."""
    row = MaintenanceWindowRow
    wanted = select(row).where(row.unit_id == unit_id, row.ends_at > since).order_by(row.starts_at)
    return [(to_ms(one.starts_at), to_ms(one.ends_at), one.reason) for one in await session.scalars(wanted)]
