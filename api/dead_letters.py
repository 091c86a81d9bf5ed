"""Dead letters: what was given up, and sending it again."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import ColumnElement, Select, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from api import idempotency, paging
from api.authentication import NO_ORGANIZATION
from api.problems import not_found, responses
from api.redrives import options_of, refusal_of, refused_problem, sent_again, view_of
from api.services import ConfigurerOrOperator, Used
from database.declarative import to_ms
from database.records import JobFailureRow
from domain.redrive.dead_letters import KINDS
from domain.redrive.redrive import Refused
from domain.redrive.redrive_record import RedriveRecord
from outbox.redrives import Judged, judge_rows, redrive
from schemas.http.dead_letters import (
    CODE_PATTERN,
    DeadLetterKind,
    DeadLetterView,
    RetriedLetter,
    RetryFilter,
    RetryItem,
    RetryOrder,
    RetryReport,
)
from schemas.http.fields import Id, Instant
from schemas.http.paging import Page

router = APIRouter(tags=["dead letters"], responses=responses(400, 401, 403, 422, 429, 503))

Word = Annotated[str, Query(pattern=CODE_PATTERN)]
FailureId = Annotated[int, Path(ge=1, le=2**53)]


def _owned(organization_id: str) -> ColumnElement[bool]:
    """Rows of the organization; for NO_ORGANIZATION, rows that name none."""
    column = JobFailureRow.organization_id
    return column.is_(None) if organization_id == NO_ORGANIZATION else column == organization_id


def _of(
    organization_id: str,
    *,
    kind: DeadLetterKind | None,
    lane: str | None,
    reason: str | None,
    error_code: str | None,
    user_id: str | None,
    since: Instant | None,
    until: Instant | None,
) -> Select[JobFailureRow]:
    wanted = select(JobFailureRow).where(_owned(organization_id))
    if kind is not None:
        topics = {known.topic.name for known in KINDS if known.name == kind}
        wanted = wanted.where(JobFailureRow.source_topic.in_(topics))
    for column, value in (
        (JobFailureRow.lane, lane),
        (JobFailureRow.reason, reason),
        (JobFailureRow.error_code, error_code),
        (JobFailureRow.user_id, user_id),
    ):
        if value is not None:
            wanted = wanted.where(column == value)
    if since is not None:
        wanted = wanted.where(JobFailureRow.failed_at >= since)
    if until is not None:
        wanted = wanted.where(JobFailureRow.failed_at < until)
    return wanted


@router.get("/v1/dead-letters")
async def list_dead_letters(
    caller: ConfigurerOrOperator,
    services: Used,
    limit: paging.Limit = 50,
    cursor: paging.Cursor = None,
    kind: Annotated[DeadLetterKind | None, Query(description="Only these")] = None,
    lane: Annotated[Word | None, Query(description="Only of this lane, such as sms-critical")] = None,
    reason: Annotated[Word | None, Query(description="Only given up for this, such as exhausted")] = None,
    error_code: Annotated[Word | None, Query(description="Only with this code, such as 40001")] = None,
    user_id: Annotated[Id | None, Query(description="Only for this contact")] = None,
    since: Annotated[Instant | None, Query(description="Given up at or after this")] = None,
    until: Annotated[Instant | None, Query(description="Given up before this")] = None,
    *,
    settled: Annotated[
        bool | None, Query(description="Only what was sent again or put aside, or only what was not")
    ] = None,
) -> Page[DeadLetterView]:
    """Dead letters, the newest first, each with the answer that a retry would get. For ops and admins.

    A key for all organizations that chooses none sees those that name no organization, such as unreadable records.
    """
    after = paging.position(cursor, int, int)
    wanted = _of(
        caller.organization_id,
        kind=kind,
        lane=lane,
        reason=reason,
        error_code=error_code,
        user_id=user_id and caller.qualified(user_id),
        since=since,
        until=until,
    )
    if after is not None:
        place = (paging.instant(after[0]), int(after[1]))
        wanted = wanted.where(tuple_(JobFailureRow.failed_at, JobFailureRow.failure_id) < place)
    if settled is not None:
        wanted = wanted.where(JobFailureRow.settled_at.is_not(None) if settled else JobFailureRow.settled_at.is_(None))
    order = (JobFailureRow.failed_at.desc(), JobFailureRow.failure_id.desc())
    async with services.transaction() as session:
        rows = list(await session.scalars(wanted.order_by(*order).limit(limit + 1)))
        judged = await judge_rows(session, rows, now=services.now(), options=options_of(RetryOrder()))
    return paging.page(
        judged, limit, view_of, lambda one: paging.cursor_of(to_ms(one.row.failed_at), one.row.failure_id)
    )


@router.post(
    "/v1/dead-letters/{failure_id}/retry",
    status_code=HTTPStatus.ACCEPTED,
    response_model=RetriedLetter,
    responses=responses(404, 409),
    openapi_extra=idempotency.DOCUMENTED,
)
async def retry_one(
    failure_id: FailureId,
    caller: ConfigurerOrOperator,
    services: Used,
    request: Request,
    order: RetryOrder | None = None,
) -> Response:
    """Send one dead letter again. 409 says why not; one that was sent again is never sent a second time."""
    order = order or RetryOrder()

    async def work(session: AsyncSession) -> Response:
        found = select(JobFailureRow).where(JobFailureRow.failure_id == failure_id, _owned(caller.organization_id))
        row = (await session.scalars(found.with_for_update())).one_or_none()
        if row is None:
            raise not_found("dead letter", str(failure_id))
        now = services.now()
        [judged] = await judge_rows(session, [row], now=now, options=options_of(order))
        if isinstance(judged.decision, Refused):
            raise refused_problem(judged.decision)
        if not order.dry_run:
            await redrive(session, [judged], by=caller.name, now=now)
        view = RetriedLetter(
            failure_id=failure_id, letter=str(judged.place), **sent_again(judged.decision).model_dump()
        )
        status = HTTPStatus.OK if order.dry_run else HTTPStatus.ACCEPTED
        return Response(view.model_dump_json(), status, media_type="application/json")

    return await idempotency.once(request, caller, services, work)


@router.post("/v1/dead-letters/retry", response_model=RetryReport, openapi_extra=idempotency.DOCUMENTED)
async def retry_filtered(
    order: RetryFilter,
    caller: ConfigurerOrOperator,
    services: Used,
    request: Request,
) -> Response:
    """Send dead letters that match a filter again, at most `limit` a call. Without `dry_run: false` nothing is sent."""

    async def work(session: AsyncSession) -> Response:
        wanted = _of(
            caller.organization_id,
            kind=order.kind,
            lane=order.lane,
            reason=order.reason,
            error_code=order.error_code,
            user_id=order.user_id and caller.qualified(order.user_id),
            since=order.since,
            until=order.until,
        ).where(JobFailureRow.settled_at.is_(None))
        if order.after_failure_id is not None:
            wanted = wanted.where(JobFailureRow.failure_id > order.after_failure_id)
        if not order.dry_run:
            wanted = wanted.with_for_update()
        # One row more than the limit shows whether more follow.
        rows = list(await session.scalars(wanted.order_by(JobFailureRow.failure_id).limit(order.limit + 1)))
        now = services.now()
        judged = await judge_rows(session, rows[: order.limit], now=now, options=options_of(order))
        if not order.dry_run:
            await redrive(session, judged, by=caller.name, now=now)
        refused = sum(isinstance(one.decision, Refused) for one in judged)
        report = RetryReport(
            dry_run=order.dry_run,
            sent_again=len(judged) - refused,
            refused=refused,
            items=[_item(one) for one in judged],
            next_after=judged[-1].row.failure_id if len(rows) > order.limit else None,
        )
        return Response(report.model_dump_json(), HTTPStatus.OK, media_type="application/json")

    return await idempotency.once(request, caller, services, work)


def _item(one: Judged) -> RetryItem:
    return RetryItem(
        failure_id=one.row.failure_id,
        letter=str(one.place),
        again=sent_again(one.decision) if isinstance(one.decision, RedriveRecord) else None,
        refusal=refusal_of(one.decision),
    )
