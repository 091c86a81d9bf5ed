"""One unit: its history, its limits, its alerts."""

import csv
import io
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query, Response
from sqlalchemy import select

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

router = APIRouter(include_in_schema=False)

UnitId = Annotated[str, Path(max_length=300)]
Wanted = Annotated[Stretch, Query(alias="stretch")]
ALERTS = 20
LABELS = {Stretch.HOURS: "2 hours", Stretch.DAY: "Day", Stretch.MONTH: "30 days", Stretch.YEAR: "Year"}


@router.get("/units/{unit_id:path}/history.csv")
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


@router.get("/units/{unit_id:path}")
async def show_unit(unit_id: UnitId, viewer: Looking, services: Used, stretch: Wanted = Stretch.DAY) -> Response:
    services.live.start()
    now_ms = to_ms(services.now())
    organization_id = viewer.caller.organization_id
    async with services.transaction() as session:
        organization = await organization_of(session, organization_id)
        unit = await row_of(session, UnitRow, viewer.caller, unit_id)
        facts = await live_units.facts(session, organization_id, unit_ids=[unit_id])
        firing = await live_units.open_alerts(session, organization_id, services.live, [unit_id])
        points = await history(session, services.live, organization_id, unit_id, stretch, organization.timezone, now_ms)
        alerts = list(
            await session.scalars(
                select(AlertRow)
                .where(AlertRow.organization_id == organization_id, AlertRow.unit_id == unit_id)
                .order_by(AlertRow.started_at.desc())
                .limit(ALERTS)
            )
        )
        since = from_ms(now_ms) - LENGTHS[stretch]
        windows = await session.scalars(
            select(MaintenanceWindowRow)
            .where(MaintenanceWindowRow.unit_id == unit_id, MaintenanceWindowRow.ends_at > since)
            .order_by(MaintenanceWindowRow.starts_at)
        )
        maintenance = [(to_ms(one.starts_at), to_ms(one.ends_at), one.reason) for one in windows]
    [tile] = live_units.tiles(facts, firing, services.live, now_ms)
    chart = {
        "points": points,
        "high_c": tile.fact.high_c,
        "low_c": tile.fact.low_c,
        "display_unit": organization.display_unit,
        "alerts": [
            (to_ms(one.started_at), now_ms if one.resolved_at is None else to_ms(one.resolved_at)) for one in alerts
        ],
        "maintenance": [(begin, end) for begin, end, _ in maintenance],
        "begins_ms": now_ms - LENGTHS[stretch].total_seconds() * 1000,
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
        timezone=organization.timezone,
        now_ms=now_ms,
    )
