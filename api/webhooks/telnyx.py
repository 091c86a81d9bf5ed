"""`POST /webhooks/telnyx`: what the SMS provider reports and what people answer, on its way to `sms-receipts`.

The answer is 200 only when the broker has what follows from the event; anything else makes Telnyx send it again (three
times to each address). It gives up after two seconds, so this says 503 before; what is under way goes on, and the same
event finds it done, or waits for it.
"""

import asyncio
from http import HTTPStatus

from fastapi import APIRouter, Request
from prometheus_client import Counter
from starlette.exceptions import HTTPException

from api.problems import responses, unavailable
from api.services import Used
from api.webhooks.bodies import small_body
from api.webhooks.telnyx_intake import Result
from api.webhooks.telnyx_signature import SIGNATURE_HEADER, TIMESTAMP_HEADER
from schemas.http.fields import Shape

router = APIRouter(tags=["webhooks"])

EVENTS = Counter("freshtrack_api_telnyx_events", "The SMS provider's webhooks by what became of them", ["result"])
WHOLE_LIMIT_S = 1.7


class Taken(Shape):
    """For whoever reads the provider's webhook log; the provider itself looks at the status only."""

    result: Result


def _header(name: str, description: str) -> dict[str, object]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"}}


def _id(name: str) -> dict[str, object]:
    description = f"The {name}, as the worker wrote it into the message's webhook address"
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
    """For Telnyx: delivery events and answers of people. Known by its signature, not by an API key."""
    try:
        async with asyncio.timeout(WHOLE_LIMIT_S):
            body = await small_body(request)
            result = await services.telnyx.take(body, request.headers, request.query_params)
    except TimeoutError:
        EVENTS.labels("too_slow").inc()
        raise unavailable(f"This takes longer than {WHOLE_LIMIT_S:g} s. Send it again.") from None
    except HTTPException as error:
        EVENTS.labels("unavailable" if error.status_code == HTTPStatus.SERVICE_UNAVAILABLE else "refused").inc()
        raise
    EVENTS.labels(result).inc()
    return Taken(result=result)
