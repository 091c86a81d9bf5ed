"""The SMS log and the failures: why was nobody called?"""

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import select, tuple_

from api import paging
from api.problems import responses
from api.services import Configurer, Reader, Used
from database.declarative import to_ms
from database.records import JobFailureRow, SmsAlertLogRow
from domain.redrive.dead_letters import masked_text
from schemas.http.fields import Id, Instant, Line
from schemas.http.paging import Page
from schemas.http.records import JobFailure, SmsEntry

router = APIRouter(tags=["records"], responses=responses(400, 401, 403, 422, 429, 503))

Word = Annotated[str, Query(min_length=1, max_length=40, pattern="^[a-z_-]+$")]


@router.get("/v1/sms-log")
async def list_sms(
    caller: Reader,
    services: Used,
    limit: paging.Limit = 50,
    cursor: paging.Cursor = None,
    alert_id: Annotated[Line | None, Query(description="Only about this alert: why was nobody called?")] = None,
    user_id: Annotated[Id | None, Query(description="Only to this contact")] = None,
    outcome: Annotated[Word | None, Query(description="Only this decision, such as sent or rate_limited")] = None,
    since: Annotated[Instant | None, Query(description="Decided at or after this")] = None,
) -> Page[SmsEntry]:
    """Every decision about an SMS, the newest first."""
    after = paging.position(cursor, int, int)
    wanted = select(SmsAlertLogRow).where(SmsAlertLogRow.organization_id == caller.organization_id)
    if after is not None:
        place = (paging.instant(after[0]), int(after[1]))
        wanted = wanted.where(tuple_(SmsAlertLogRow.at, SmsAlertLogRow.entry_id) < place)
    if alert_id is not None:
        wanted = wanted.where(SmsAlertLogRow.alert_id == alert_id)
    if user_id is not None:
        wanted = wanted.where(SmsAlertLogRow.user_id == user_id)
    if outcome is not None:
        wanted = wanted.where(SmsAlertLogRow.outcome == outcome)
    if since is not None:
        wanted = wanted.where(SmsAlertLogRow.at >= since)
    order = (SmsAlertLogRow.at.desc(), SmsAlertLogRow.entry_id.desc())
    async with services.transaction() as session:
        rows = list(await session.scalars(wanted.order_by(*order).limit(limit + 1)))
    return paging.page(rows, limit, _entry, lambda row: paging.cursor_of(to_ms(row.at), row.entry_id))


@router.get("/v1/job-failures")
async def list_failures(
    caller: Configurer,
    services: Used,
    limit: paging.Limit = 50,
    cursor: paging.Cursor = None,
    lane: Annotated[Word | None, Query(description="Only of this lane, such as sms-critical")] = None,
    *,
    open_only: Annotated[bool, Query(description="Only what nobody settled")] = False,
) -> Page[JobFailure]:
    """What was given up, the newest first. For ops and admins."""
    after = paging.position(cursor, int, int)
    wanted = select(JobFailureRow).where(JobFailureRow.organization_id == caller.organization_id)
    if after is not None:
        place = (paging.instant(after[0]), int(after[1]))
        wanted = wanted.where(tuple_(JobFailureRow.failed_at, JobFailureRow.failure_id) < place)
    if lane is not None:
        wanted = wanted.where(JobFailureRow.lane == lane)
    if open_only:
        wanted = wanted.where(JobFailureRow.settled_at.is_(None))
    order = (JobFailureRow.failed_at.desc(), JobFailureRow.failure_id.desc())
    async with services.transaction() as session:
        rows = list(await session.scalars(wanted.order_by(*order).limit(limit + 1)))
    return paging.page(rows, limit, _failure, lambda row: paging.cursor_of(to_ms(row.failed_at), row.failure_id))


def _entry(row: SmsAlertLogRow) -> SmsEntry:
    shown = SmsEntry.model_validate({name: getattr(row, name) for name in SmsEntry.model_fields})
    return shown.model_copy(update={"error": _masked(row.error)})


def _failure(row: JobFailureRow) -> JobFailure:
    shown = JobFailure.model_validate({name: getattr(row, name) for name in JobFailure.model_fields})
    return shown.model_copy(update={"error": _masked(row.error)})


def _masked(error: str | None) -> str | None:
    return None if error is None else masked_text(error)
