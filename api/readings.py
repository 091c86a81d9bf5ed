"""`POST /v1/readings`: the way in for gateways that speak HTTP."""

from http import HTTPStatus

import msgspec
from fastapi import APIRouter, Request, Response

from api import submissions
from api.keys import INGEST
from api.problems import Problem, responses
from api.services import services_of

router = APIRouter(tags=["readings"])

_SCHEMAS, _COMPONENTS = msgspec.json.schema_components(
    [submissions.OneReading, submissions.UnitReadings, submissions.SeveralUnits, submissions.Receipt],
    ref_template="#/components/schemas/{name}",
)
COMPONENTS = _COMPONENTS
_JSON = "application/json"


@router.post(
    "/v1/readings",
    status_code=HTTPStatus.ACCEPTED,
    responses={
        202: {
            "description": "Kafka has what is counted as accepted, on all its in-sync replicas",
            "content": {_JSON: {"schema": _SCHEMAS[-1]}},
        },
        **responses(400, 401, 403, 413, 422, 429, 503),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": {"oneOf": _SCHEMAS[:-1]}, "examples": submissions.EXAMPLES}},
        },
    },
    response_class=Response,
)
async def ingest(request: Request) -> Response:
    """Send readings: one, many of a unit, or of several units.

    A reading that cannot be used is refused alone, with its reason; when nothing is left the answer is 422. Sending
    the same again is harmless: readings are recognized by unit and time. For gateways, ops and admins.
    """
    services = services_of(request)
    caller = await services.keys.caller(request, INGEST)
    body = await request.body()
    parts = submissions.read(body, round(services.now().timestamp() * 1000))
    await services.ingest.send(parts, caller.organization_id, len(body))
    items = [part.item() for part in parts]
    accepted = sum(item.accepted for item in items)
    receipt = submissions.Receipt(accepted, sum(item.refused for item in items), items)
    if not accepted:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "None of the readings can be used.",
            slug="no-usable-reading",
            more={"items": msgspec.to_builtins(items)},
        )
    return Response(msgspec.json.encode(receipt), HTTPStatus.ACCEPTED, media_type=_JSON)
