"""Units and their rules."""

import uuid
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api import entity_tags, idempotency, paging
from api.keys import Caller
from api.organizations import organization_of
from api.problems import conflict, not_found, responses
from api.services import Configurer, Reader, Used
from database.configuration import RuleRow, UnitRow
from outbox.writer import publish_units
from schemas.http.fields import ID_PATTERN, Id
from schemas.http.paging import Page
from schemas.http.units import NewUnit, RuleBody, RuleView, UnitBody, UnitView

router = APIRouter(tags=["units"], responses=responses(400, 401, 403, 404, 422, 429, 503))

UnitId = Annotated[str, Path(pattern=ID_PATTERN)]
RuleId = Annotated[str, Path(pattern=ID_PATTERN)]
MAX_RULES = 50


async def unit_of(session: AsyncSession, caller: Caller, unit_id: str, *, lock: bool = False) -> UnitRow:
    """The caller's unit; raises Problem (404) also when it is another organization's."""
    wanted = select(UnitRow).where(UnitRow.unit_id == unit_id, UnitRow.organization_id == caller.organization_id)
    unit = (await session.scalars(wanted.with_for_update() if lock else wanted)).one_or_none()
    if unit is None:
        raise not_found("unit", unit_id)
    return unit


async def _rules_of(session: AsyncSession, unit_ids: list[str]) -> dict[str, list[RuleView]]:
    rules: dict[str, list[RuleView]] = {unit_id: [] for unit_id in unit_ids}
    wanted = select(RuleRow).where(RuleRow.unit_id.in_(unit_ids)).order_by(RuleRow.unit_id, RuleRow.rule_id)
    for row in await session.scalars(wanted):
        rules[row.unit_id].append(_rule_view(row))
    return rules


def _rule_view(row: RuleRow) -> RuleView:
    return RuleView.model_validate(
        {
            "rule_id": row.rule_id,
            "limit": row.limit_side,
            "severity": row.severity,
            "limit_c": row.limit_c,
            "clear_c": row.clear_c,
            "confirm_s": row.confirm_s,
            "recover_readings": row.recover_readings,
        }
    )


def _view(row: UnitRow, rules: list[RuleView]) -> UnitView:
    return UnitView(
        unit_id=row.unit_id,
        name=row.name,
        gateway_id=row.gateway_id,
        device_id=row.device_id,
        expected_interval_s=row.expected_interval_s,
        offline_after_missed=row.offline_after_missed,
        live_window_s=row.live_window_s,
        rules=rules,
        created_at=row.created_at,
    )


def _rule_row(unit_id: str, rule_id: str, body: RuleBody) -> dict[str, object]:
    return {
        "unit_id": unit_id,
        "rule_id": rule_id,
        "limit_side": body.limit,
        "severity": body.severity,
        "limit_c": body.limit_c,
        "clear_c": body.clear_c,
        "confirm_s": body.confirm_s,
        "recover_readings": body.recover_readings,
    }


async def _write(session: AsyncSession, row: UnitRow, body: UnitBody) -> None:
    if body.device_id is not None and body.device_id != row.device_id:
        await _device_must_be_free(session, row, body.device_id)
    row.name = body.name
    row.gateway_id = body.gateway_id
    row.device_id = body.device_id
    row.expected_interval_s = body.expected_interval_s
    row.offline_after_missed = body.offline_after_missed
    row.live_window_s = body.live_window_s
    await session.flush()
    await session.execute(delete(RuleRow).where(RuleRow.unit_id == row.unit_id))
    if body.rules:
        await session.execute(insert(RuleRow), [_rule_row(row.unit_id, rule.rule_id, rule) for rule in body.rules])


async def _device_must_be_free(session: AsyncSession, row: UnitRow, device_id: str) -> None:
    """Raises Problem (409); of two requests at once the database stops the second."""
    wanted = select(UnitRow.unit_id).where(
        UnitRow.organization_id == row.organization_id, UnitRow.device_id == device_id, UnitRow.unit_id != row.unit_id
    )
    if (other := (await session.scalars(wanted)).first()) is not None:
        raise conflict(f"The device {device_id} belongs to the unit {other}; take it away there first.")


async def _changed(session: AsyncSession, row: UnitRow) -> None:
    row.version += 1
    await publish_units(session, [row.unit_id])


async def _shown(session: AsyncSession, row: UnitRow, request: Request, status: int = HTTPStatus.OK) -> Response:
    rules = await _rules_of(session, [row.unit_id])
    return entity_tags.answer(request, _view(row, rules[row.unit_id]), row.version, status=status)


@router.get("/v1/units")
async def list_units(
    caller: Reader,
    services: Used,
    limit: paging.Limit = 50,
    cursor: paging.Cursor = None,
    gateway_id: Annotated[Id | None, Query(description="Only the units of this gateway")] = None,
) -> Page[UnitView]:
    """The organization's units in the order of their ids."""
    after = paging.position(cursor, str)
    wanted = select(UnitRow).where(UnitRow.organization_id == caller.organization_id)
    if after is not None:
        wanted = wanted.where(UnitRow.unit_id > after[0])
    if gateway_id is not None:
        wanted = wanted.where(UnitRow.gateway_id == gateway_id)
    async with services.transaction() as session:
        rows = list(await session.scalars(wanted.order_by(UnitRow.unit_id).limit(limit + 1)))
        rules = await _rules_of(session, [row.unit_id for row in rows])
    return paging.page(
        rows, limit, lambda row: _view(row, rules[row.unit_id]), lambda row: paging.cursor_of(row.unit_id)
    )


@router.post(
    "/v1/units",
    status_code=HTTPStatus.CREATED,
    response_model=UnitView,
    responses={**responses(409), **entity_tags.tagged(201)},
    openapi_extra=idempotency.DOCUMENTED,
)
async def create_unit(body: NewUnit, caller: Configurer, services: Used, request: Request) -> Response:
    """Make a unit; the workers know it within a second. Unit ids are unique over all organizations."""

    async def work(session: AsyncSession) -> Response:
        organization = await organization_of(session, caller.organization_id, lock=True)
        if organization.max_units is not None:
            mine = select(func.count()).where(UnitRow.organization_id == caller.organization_id)
            if (await session.execute(mine)).scalar_one() >= organization.max_units:
                raise conflict(f"Your organization may have {organization.max_units} units.")
        unit_id = body.unit_id or str(uuid.uuid4())
        made = await session.scalars(
            insert(UnitRow)
            .values(unit_id=unit_id, organization_id=caller.organization_id, name=body.name)
            .on_conflict_do_nothing()
            .returning(UnitRow)
        )
        row = made.one_or_none()
        if row is None:
            raise conflict(f"The unit id {unit_id} is taken; choose another or leave it out.")
        await _write(session, row, body)
        await publish_units(session, [unit_id])
        response = await _shown(session, row, request, HTTPStatus.CREATED)
        response.headers["Location"] = f"/v1/units/{unit_id}"
        return response

    response = await idempotency.once(request, caller, services, work)
    if body.unit_id is not None:
        services.ingest.forget(body.unit_id)
    return response


@router.get(
    "/v1/units/{unit_id}",
    response_model=UnitView,
    responses=entity_tags.tagged(200, 304),
    openapi_extra=entity_tags.CACHED,
)
async def get_unit(unit_id: UnitId, caller: Reader, services: Used, request: Request) -> Response:
    """A unit with its rules."""
    async with services.transaction() as session:
        return await _shown(session, await unit_of(session, caller, unit_id), request)


@router.put(
    "/v1/units/{unit_id}",
    response_model=UnitView,
    responses={**entity_tags.tagged(), **entity_tags.guarded(409)},
    openapi_extra=entity_tags.GUARDED,
)
async def replace_unit(
    unit_id: UnitId, body: UnitBody, caller: Configurer, services: Used, request: Request
) -> Response:
    """Replace a unit with all its rules; If-Match guards against overwriting somebody's change."""
    async with services.transaction() as session:
        row = await unit_of(session, caller, unit_id, lock=True)
        entity_tags.must_match(request, row.version)
        await _write(session, row, body)
        await _changed(session, row)
        return await _shown(session, row, request)


@router.delete(
    "/v1/units/{unit_id}",
    status_code=HTTPStatus.NO_CONTENT,
    responses=entity_tags.guarded(),
    openapi_extra=entity_tags.GUARDED,
)
async def delete_unit(unit_id: UnitId, caller: Configurer, services: Used, request: Request) -> None:
    """Delete a unit with its rules and maintenance windows; its alerts stay in the records."""
    async with services.transaction() as session:
        row = await unit_of(session, caller, unit_id, lock=True)
        entity_tags.must_match(request, row.version)
        await session.delete(row)
        await publish_units(session, [unit_id])
    services.ingest.forget(unit_id)


@router.put(
    "/v1/units/{unit_id}/rules/{rule_id}",
    response_model=UnitView,
    responses={**entity_tags.tagged(), **entity_tags.guarded(409)},
    openapi_extra=entity_tags.GUARDED,
)
async def put_rule(
    unit_id: UnitId, rule_id: RuleId, body: RuleBody, caller: Configurer, services: Used, request: Request
) -> Response:
    """Add a rule to a unit or replace it. If-Match takes the unit's tag."""
    async with services.transaction() as session:
        row = await unit_of(session, caller, unit_id, lock=True)
        entity_tags.must_match(request, row.version)
        values = _rule_row(unit_id, rule_id, body)
        await session.execute(
            insert(RuleRow).values(values).on_conflict_do_update(index_elements=["unit_id", "rule_id"], set_=values)
        )
        count = await session.execute(select(func.count()).where(RuleRow.unit_id == unit_id))
        if count.scalar_one() > MAX_RULES:
            raise conflict(f"A unit may have {MAX_RULES} rules.")
        await _changed(session, row)
        return await _shown(session, row, request)


@router.delete(
    "/v1/units/{unit_id}/rules/{rule_id}",
    response_model=UnitView,
    responses={**entity_tags.tagged(), **entity_tags.guarded()},
    openapi_extra=entity_tags.GUARDED,
)
async def delete_rule(
    unit_id: UnitId, rule_id: RuleId, caller: Configurer, services: Used, request: Request
) -> Response:
    """Take a rule away; an alert of it that still fires is resolved."""
    async with services.transaction() as session:
        row = await unit_of(session, caller, unit_id, lock=True)
        entity_tags.must_match(request, row.version)
        gone = await session.execute(
            delete(RuleRow).where(RuleRow.unit_id == unit_id, RuleRow.rule_id == rule_id).returning(RuleRow.rule_id)
        )
        if gone.first() is None:
            raise not_found("rule", rule_id)
        await _changed(session, row)
        return await _shown(session, row, request)
