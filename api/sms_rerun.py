"""Sends a finished SMS again."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api import idempotency
from api.problems import not_found, responses
from api.redrives import options_of, refused_problem, sent_again
from api.services import Configurer, Used
from database.notifications import SmsRequestRow
from domain.redrive.redrive import Refused
from outbox import redrives
from schemas.http.dead_letters import RerunSms, RetryOrder

router = APIRouter(tags=["dead letters"], responses=responses(400, 401, 403, 404, 409, 422, 429, 503))

RequestId = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


@router.post(
    "/v1/sms/{request_id}/rerun",
    status_code=HTTPStatus.ACCEPTED,
    response_model=RerunSms,
    openapi_extra=idempotency.DOCUMENTED,
)
async def rerun(
    request_id: RequestId, caller: Configurer, services: Used, request: Request, order: RetryOrder | None = None
) -> Response:
    """Send an SMS again that was delivered, rate-limited, cancelled or opted out of. 409 says why not.

    `request_id` is as in the SMS log. For ops and admins.
    """
    order = order or RetryOrder()

    async def work(session: AsyncSession) -> Response:
        mine = select(SmsRequestRow).where(
            SmsRequestRow.request_id == request_id, SmsRequestRow.organization_id == caller.organization_id
        )
        # Of two concurrent reruns the second waits here, and then finds the first one under way.
        row = (await session.scalars(mine.with_for_update())).one_or_none()
        if row is None:
            raise not_found("SMS", request_id)
        decision = await redrives.judge_rerun(session, row, now=services.now(), options=options_of(order))
        if isinstance(decision, Refused):
            raise refused_problem(decision)
        if not order.dry_run:
            await redrives.rerun(session, row, decision)
        view = RerunSms(request_id=request_id, **sent_again(decision).model_dump())
        status = HTTPStatus.OK if order.dry_run else HTTPStatus.ACCEPTED
        return Response(view.model_dump_json(), status, media_type="application/json")

    return await idempotency.once(request, caller, services, work)
