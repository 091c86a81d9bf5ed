"""Maintenance windows: nobody is paged, recording goes on."""

import uuid
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from api import idempotency, paging
from api.ownership import row_of
from api.problems import conflict, not_found, responses
from api.services import Configurer, Reader, Used
from api.units import UnitId
from database.configuration import MaintenanceWindowRow, UnitRow
from outbox.writer import publish_units
from schemas.http.fields import ID_PATTERN
from schemas.http.maintenance import MaintenanceBody, MaintenanceView
from schemas.http.paging import Page

router = APIRouter(tags=["maintenance"], responses=responses(400, 401, 403, 404, 422, 429, 503))

# Every window that is not yet over is part of the unit's configuration message.
MAX_COMING = 500


@router.get("/v1/units/{unit_id}/maintenance-windows")
async def list_windows(unit_id: UnitId, caller: Reader, services: Used, wanted: paging.Wanted) -> Page[MaintenanceView]:
    """A unit's windows, the one that ends last first."""
    after = paging.position(wanted.cursor, str)
    async with services.transaction() as session:
        unit = await row_of(session, UnitRow, caller, unit_id)
        windows = select(MaintenanceWindowRow).where(MaintenanceWindowRow.unit_id == unit.unit_id)
        if after is not None:
            last = await session.get(MaintenanceWindowRow, after[0])
            if last is None or last.unit_id != unit.unit_id:
                raise conflict("The cursor's window was deleted; start without a cursor.")
            windows = windows.where(
                or_(
                    MaintenanceWindowRow.ends_at < last.ends_at,
                    (MaintenanceWindowRow.ends_at == last.ends_at) & (MaintenanceWindowRow.window_id > last.window_id),
                )
            )
        order = (MaintenanceWindowRow.ends_at.desc(), MaintenanceWindowRow.window_id)
        rows = list(await session.scalars(windows.order_by(*order).limit(wanted.limit + 1)))
    return paging.page(rows, wanted.limit, MaintenanceView.model_validate, lambda row: paging.cursor_of(row.window_id))


@router.post(
    "/v1/units/{unit_id}/maintenance-windows",
    status_code=HTTPStatus.CREATED,
    response_model=MaintenanceView,
    responses=responses(409),
    openapi_extra=idempotency.DOCUMENTED,
)
async def create_window(
    unit_id: UnitId, body: MaintenanceBody, caller: Configurer, services: Used, request: Request
) -> Response:
    """Page nobody for a unit during a period; a window that has already begun takes effect at once."""

    async def work(session: AsyncSession) -> Response:
        unit = await row_of(session, UnitRow, caller, unit_id, lock=True)
        coming = select(func.count()).where(
            MaintenanceWindowRow.unit_id == unit.unit_id, MaintenanceWindowRow.ends_at > services.now()
        )
        if (await session.execute(coming)).scalar_one() >= MAX_COMING:
            raise conflict(f"A unit may have {MAX_COMING} windows that are not yet over.")
        row = MaintenanceWindowRow(
            window_id=str(uuid.uuid4()),
            unit_id=unit.unit_id,
            starts_at=body.starts_at,
            ends_at=body.ends_at,
            reason=body.reason,
        )
        session.add(row)
        unit.version += 1
        await session.flush()
        await publish_units(session, [unit.unit_id])
        return Response(
            MaintenanceView.model_validate(row).model_dump_json(),
            HTTPStatus.CREATED,
            {"Location": f"/v1/units/{unit_id}/maintenance-windows/{row.window_id}"},
            "application/json",
        )

    return await idempotency.once(request, caller, services, work)


@router.delete("/v1/units/{unit_id}/maintenance-windows/{window_id}", status_code=HTTPStatus.NO_CONTENT)
async def delete_window(
    unit_id: UnitId, window_id: Annotated[str, Path(pattern=ID_PATTERN)], caller: Configurer, services: Used
) -> None:
    """End a window early, or cancel it."""
    async with services.transaction() as session:
        unit = await row_of(session, UnitRow, caller, unit_id, lock=True)
        gone = await session.execute(
            delete(MaintenanceWindowRow)
            .where(MaintenanceWindowRow.unit_id == unit.unit_id, MaintenanceWindowRow.window_id == window_id)
            .returning(MaintenanceWindowRow.window_id)
        )
        if gone.first() is None:
            raise not_found("maintenance window", window_id)
        unit.version += 1
        await publish_units(session, [unit.unit_id])
