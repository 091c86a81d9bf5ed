"""`POST /webhooks/telnyx`: delivery reports and replies, which go to `sms-receipts`.

The response is 200 only when the broker has acknowledged the result; otherwise Telnyx repeats the event (three times to
each address). Telnyx gives up after two seconds, so this answers 503 before that. The work goes on; the repeated event
finds it done, or waits for it.
"""

import asyncio
from http import HTTPStatus

from fastapi import APIRouter, Request
from prometheus_client import Counter
from starlette.exceptions import HTTPException

from api.problems import responses, unavailable
from api.services import Used
from api.webhooks.telnyx.intake import Result
from api.webhooks.telnyx.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER
from schemas.http.fields import Shape

router = APIRouter(tags=["webhooks"])

EVENTS = Counter("freshtrack_api_telnyx_events", "The SMS provider's webhooks by result", ["result"])
WHOLE_LIMIT_S = 1.7


class Taken(Shape):
    """For readers of the provider's webhook log; the provider looks at the status only."""

    result: Result


def _header(name: str, description: str) -> dict[str, object]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"}}


def _id(name: str) -> dict[str, object]:
    description = f"The {name}, from the message's webhook address"
    return {"name": name, "in": "query", "required": False, "description": description, "schema": {"type": "string"}}


@router.post(
    "/webhooks/telnyx",
    responses=responses(400, 403, 413, 422, 503),
    openapi_extra={
        "security": [],
        "parameters": [
            _header(SIGNATURE_HEADER, "Ed25519 over timestamp, a bar and the raw body; base64"),
            _header(TIMESTAMP_HEADER, "Seconds since 1970; at most five minutes away from now"),
            *(_id(name) for name in ("user", "request", "attempt")),
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
    },
)
async def take_telnyx_event(request: Request, services: Used) -> Taken:
    """For Telnyx: delivery events and replies. Authenticated by signature, not by API key."""
    try:
        async with asyncio.timeout(WHOLE_LIMIT_S):
            body = await request.body()
            result = await services.telnyx.take(body, request.headers, request.query_params)
    except TimeoutError:
        EVENTS.labels("too_slow").inc()
        raise unavailable(f"This took longer than {WHOLE_LIMIT_S:g} s. Send it again.") from None
    except HTTPException as error:
        EVENTS.labels("unavailable" if error.status_code == HTTPStatus.SERVICE_UNAVAILABLE else "refused").inc()
        raise
    EVENTS.labels(result).inc()
    return Taken(result=result)
