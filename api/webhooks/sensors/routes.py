"""Webhooks of sensor vendors' networks: their payloads become readings, as if a gateway had sent them.

Both vendors can send a custom header: `Authorization: Bearer KEY` with a gateway key, which determines whose units the
devices may write. A device maps to the unit that names it in `device_id`, else to the unit with the device's own id.

A valid payload gets 202 with an explanation even if nothing of it could be accepted. Networks look at the status only:
a device without a unit would otherwise count as a failing webhook, and some networks then stop sending.
"""

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

import msgspec
import structlog
from fastapi import APIRouter, Query, Request
from prometheus_client import Counter
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api import submissions
from api.authentication import INGEST, Caller
from api.parameters import refuse_unknown_parameters
from api.problems import Problem, invalid, responses
from api.services import Services, Used
from api.webhooks.sensors import disruptive, the_things_stack
from api.webhooks.sensors.payload import PayloadError, Translated
from database.configuration import UnitRow
from schemas import messages as m
from schemas.http.fields import ID_PATTERN, Shape
from schemas.identity import plain

log = structlog.get_logger(__name__)
router = APIRouter(tags=["webhooks"])

TAKEN = Counter("freshtrack_api_vendor_webhooks", "Vendors' webhooks by result", ["vendor", "result"])
PLAIN = "^[ -~]+$"
_REQUEST_BODY = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}


class RefusedReading(Shape):
    """`index` counts in the payload's order and is null for all of them."""

    reason: str
    detail: str
    index: int | None = None


class Uplink(Shape):
    """The result for a payload; the broker has acknowledged every reading counted as accepted."""

    device_id: str
    unit_id: str
    accepted: int
    refused: int
    refusals: list[RefusedReading]
    nothing_because: str | None = None


@router.post(
    "/v1/webhooks/the-things-stack",
    status_code=HTTPStatus.ACCEPTED,
    responses=responses(400, 401, 403, 413, 422, 429, 503),
    openapi_extra={"requestBody": _REQUEST_BODY},
)
async def take_the_things_stack(
    request: Request,
    services: Used,
    field: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=100,
            pattern=PLAIN,
            description="The field of decoded_payload with the temperature in °C, where it is not found automatically",
        ),
    ] = None,
) -> Uplink:
    """For The Things Stack v3: enable "uplink message". For gateway, ops and admin keys."""
    refuse_unknown_parameters(request)
    caller = await services.keys.caller(request, INGEST)
    body = await request.body()
    return await _take(services, caller, "the-things-stack", lambda: the_things_stack.translate(body, field))


@router.post(
    "/v1/webhooks/disruptive",
    status_code=HTTPStatus.ACCEPTED,
    responses=responses(400, 401, 403, 413, 422, 429, 503),
    openapi_extra={
        "requestBody": _REQUEST_BODY,
        "parameters": [
            {
                "name": disruptive.SIGNATURE_HEADER,
                "in": "header",
                "required": False,
                "description": "Required and checked where DISRUPTIVE_SIGNATURE_SECRET is set",
                "schema": {"type": "string"},
            }
        ],
    },
)
async def take_disruptive(request: Request, services: Used) -> Uplink:
    """For data connectors of Disruptive Technologies. For gateway, ops and admin keys."""
    refuse_unknown_parameters(request)
    caller = await services.keys.caller(request, INGEST)
    body = await request.body()
    secret = services.trust.disruptive_signature_secret
    if secret is not None:
        signature = request.headers.get(disruptive.SIGNATURE_HEADER)
        problem = disruptive.signature_problem(secret.get_secret_value(), signature, body)
        if problem is not None:
            TAKEN.labels("disruptive", "signature").inc()
            raise Problem(
                HTTPStatus.FORBIDDEN,
                f"This event is refused: {problem}. The data connector's signature secret must be"
                " DISRUPTIVE_SIGNATURE_SECRET.",
                slug="webhook-signature",
            )
    return await _take(services, caller, "disruptive", lambda: disruptive.translate(body))


async def _take(services: Services, caller: Caller, vendor: str, translate: Callable[[], Translated]) -> Uplink:
    """Raises Problem: 400 if not JSON, 422 for the wrong shape, 503 if the broker does not acknowledge."""
    try:
        told = translate()
    except PayloadError as error:
        TAKEN.labels(vendor, "wrong_shape").inc()
        raise invalid(error.pointer, error.detail) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        TAKEN.labels(vendor, "no_json").inc()
        raise Problem(HTTPStatus.BAD_REQUEST, "The body is not JSON.", slug="not-json") from None
    if re.fullmatch(ID_PATTERN, told.device_id) is None:
        raise invalid("/", f"{told.device_id[:100]!r} cannot be a unit's id: use letters, digits, . _ : -")
    async with services.transaction() as session:
        unit_id = await unit_of_device(session, caller, told.device_id)
    if not told.readings:
        TAKEN.labels(vendor, "no_temperature").inc()
        return Uplink(
            device_id=told.device_id,
            unit_id=unit_id,
            accepted=0,
            refused=0,
            refusals=[],
            nothing_because=told.nothing_because,
        )
    # From here on the same path as for gateways.
    submission = m.encode(m.ReadingBatch(unit_id, list(told.readings)))
    [part] = submissions.read(submission, round(services.now().timestamp() * 1000))
    await services.ingest.send([part], caller, len(submission))
    item = part.item()
    if item.refused:
        log.warning("vendors.refused", vendor=vendor, unit=unit_id, because=item.refusals[0].reason)
    TAKEN.labels(vendor, "accepted" if item.accepted else "refused").inc()
    return Uplink(
        device_id=told.device_id,
        unit_id=unit_id,
        accepted=item.accepted,
        refused=item.refused,
        refusals=[RefusedReading(reason=r.reason, detail=r.detail, index=r.index) for r in item.refusals],
    )


async def unit_of_device(session: AsyncSession, caller: Caller, device_id: str) -> str:
    """The plain id of the caller's unit that names the device; else the device's own, whether or not it is a unit."""
    wanted = select(UnitRow.unit_id).where(
        UnitRow.organization_id == caller.organization_id, UnitRow.device_id == device_id
    )
    unit_id = (await session.scalars(wanted)).one_or_none()
    return device_id if unit_id is None else plain(unit_id)
