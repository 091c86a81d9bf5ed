"""`POST /v1/readings`: ingest by HTTP."""

from http import HTTPStatus

import msgspec
from fastapi import APIRouter, Request, Response

from api import submission_forms as forms
from api import submissions
from api.authentication import INGEST
from api.parameters import refuse_unknown_parameters
from api.problems import Problem, responses
from api.services import services_of

router = APIRouter(tags=["readings"])

_SCHEMAS, _COMPONENTS = msgspec.json.schema_components(
    [forms.OneReading, forms.UnitReadings, forms.SeveralUnits, forms.Receipt],
    ref_template="#/components/schemas/{name}",
)
COMPONENTS = _COMPONENTS
_JSON = "application/json"


@router.post(
    "/v1/readings",
    status_code=HTTPStatus.ACCEPTED,
    responses={
        202: {
            "description": "All in-sync replicas have the readings counted as accepted",
            "content": {_JSON: {"schema": _SCHEMAS[-1]}},
        },
        **responses(400, 401, 403, 413, 422, 429, 503),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": {"oneOf": _SCHEMAS[:-1]}, "examples": forms.EXAMPLES}},
        },
    },
    response_class=Response,
)
async def ingest(request: Request) -> Response:
    """Send readings: one, many of a unit, or of several units.

    An unusable reading is refused alone, with its reason; if none is left, the response is 422. Repeating a request
    is harmless: a reading is identified by unit and time. For gateways, ops and admins.
    """
    services = services_of(request)
    refuse_unknown_parameters(request)
    caller = await services.keys.caller(request, INGEST)
    body = await request.body()
    parts = submissions.read(body, round(services.now().timestamp() * 1000))
    await services.ingest.send(parts, caller, len(body))
    items = [part.item() for part in parts]
    accepted = sum(item.accepted for item in items)
    receipt = forms.Receipt(accepted, sum(item.refused for item in items), items)
    if not accepted:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "None of the readings can be used.",
            slug="no-usable-reading",
            more={"items": msgspec.to_builtins(items)},
        )
    return Response(msgspec.json.encode(receipt), HTTPStatus.ACCEPTED, media_type=_JSON)
