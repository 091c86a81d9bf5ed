"""The rules of a unit, one by one. They are part of the unit: each change counts as one of the unit."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from api import entity_tags
from api.ownership import row_of
from api.problems import conflict, not_found, responses
from api.rule_rows import delete_rule_row, put_rule_row
from api.services import Configurer, Used
from api.units import UnitId, announce_change, answer_with
from database.configuration import UnitRow
from schemas.http.fields import ID_PATTERN
from schemas.http.units import MAX_RULES, RuleBody, UnitView

router = APIRouter(tags=["units"], responses=responses(400, 401, 403, 404, 422, 429, 503))

RuleId = Annotated[str, Path(pattern=ID_PATTERN)]


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
        row = await row_of(session, UnitRow, caller, unit_id, lock=True)
        entity_tags.must_match(request, row.version)
        if await put_rule_row(session, row.unit_id, rule_id, body) > MAX_RULES:
            raise conflict(f"A unit may have {MAX_RULES} rules.")
        await announce_change(session, row)
        return await answer_with(session, row, request)


@router.delete(
    "/v1/units/{unit_id}/rules/{rule_id}",
    response_model=UnitView,
    responses={**entity_tags.tagged(), **entity_tags.guarded()},
    openapi_extra=entity_tags.GUARDED,
)
async def delete_rule(
    unit_id: UnitId, rule_id: RuleId, caller: Configurer, services: Used, request: Request
) -> Response:
    """Delete a rule; an alert of it that still fires is resolved."""
    async with services.transaction() as session:
        row = await row_of(session, UnitRow, caller, unit_id, lock=True)
        entity_tags.must_match(request, row.version)
        if not await delete_rule_row(session, row.unit_id, rule_id):
            raise not_found("rule", rule_id)
        await announce_change(session, row)
        return await answer_with(session, row, request)
