"""Sends a finished SMS again. Only its lane still has the text, so it is read from there."""

import asyncio
from http import HTTPStatus
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from api import idempotency
from api.problems import not_found, responses, unavailable
from api.redrives import options_of, refused_problem, sent_again
from api.services import Configurer, Services, Used
from database.declarative import to_ms
from database.queues import OutboxRow
from database.records import SmsAlertLogRow
from domain.redrive.redrive import Past, Reason, Refused, decide_rerun
from outbox.alert_states import alert_states
from outbox.redrives import queued
from outbox.sms_requests import find_sms
from outbox.topic_scan import TopicReadError
from outbox.writer import lock_keys, publish_records
from schemas.http.dead_letters import RerunSms, RetryOrder
from schemas.messages import Severity, SmsRequest
from schemas.topics import SMS_LANES, SMS_RETRIES

router = APIRouter(tags=["dead letters"], responses=responses(400, 401, 403, 404, 409, 422, 429, 503))

RequestId = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]

FIND_LIMIT_S = 10.0
# A request is rarely older than its first decision by more than this; if it is, the whole lane is searched.
BEFORE_DECISION_MS = 3_600_000

_decode = msgspec.json.Decoder(SmsRequest).decode


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

    `request_id` is as in the SMS log. Lanes keep the text of an SMS for 7 days. For ops and admins.
    """
    order = order or RetryOrder()

    async def work(session: AsyncSession) -> Response:
        known = (
            await session.execute(
                select(
                    SmsAlertLogRow.user_id,
                    SmsAlertLogRow.alert_id,
                    func.array_agg(SmsAlertLogRow.severity.distinct()).label("severities"),
                    func.min(SmsAlertLogRow.at).label("first_at"),
                )
                .where(
                    SmsAlertLogRow.request_id == request_id, SmsAlertLogRow.organization_id == caller.organization_id
                )
                .group_by(SmsAlertLogRow.user_id, SmsAlertLogRow.alert_id)
                .limit(1)
            )
        ).one_or_none()
        if known is None:
            raise not_found("SMS", request_id)
        # Of two concurrent reruns the second waits here, then finds the first one's record.
        await lock_keys(session, SMS_RETRIES, [known.user_id])
        if await _waits(session, known.user_id, request_id):
            raise refused_problem(
                Refused(Reason.UNDER_WAY, "the request is already being sent again; wait for the end", forcible=False)
            )
        severities = [Severity(severity) for severity in known.severities]
        past = await _found(services, request_id, known.user_id, severities, to_ms(known.first_at))
        alerts = await alert_states(session, {known.alert_id})
        decision = decide_rerun(
            past,
            now_ms=to_ms(services.now()),
            options=options_of(order),
            alert=alerts.get(known.alert_id),
        )
        if isinstance(decision, Refused):
            raise refused_problem(decision)
        if not order.dry_run:
            await publish_records(session, [queued(decision, None)])
        view = RerunSms(request_id=request_id, **sent_again(decision).model_dump())
        status = HTTPStatus.OK if order.dry_run else HTTPStatus.ACCEPTED
        return Response(view.model_dump_json(), status, media_type="application/json")

    return await idempotency.once(request, caller, services, work)


async def _waits(session: AsyncSession, user_id: str, request_id: str) -> bool:
    """Whether an earlier rerun waits in the outbox; once the relay has published it, the lane has it."""
    lanes = [lane.name for lane in SMS_LANES.values()]
    values = await session.scalars(select(OutboxRow.value).where(OutboxRow.topic.in_(lanes), OutboxRow.key == user_id))
    return any(value is not None and _decode(value).request_id == request_id for value in values)


async def _found(
    services: Services, request_id: str, user_id: str, severities: list[Severity], first_at_ms: int
) -> Past | None:
    for since_ms in (first_at_ms - BEFORE_DECISION_MS, None):
        try:
            past = await asyncio.to_thread(
                find_sms,
                services.kafka,
                request_id,
                user_id=user_id,
                severities=severities,
                since_ms=since_ms,
                limit_s=FIND_LIMIT_S,
            )
        except TopicReadError as error:
            raise unavailable(f"The lanes cannot be read now: {error}.") from None
        if past is not None:
            return past
    return None
