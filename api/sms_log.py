"""The SMS log: why was nobody called?"""

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import select

from api import paging
from api.moments import Moment, instant_of
from api.problems import responses
from api.services import Reader, Used
from database.notifications import SmsAlertLogRow
from domain.personal_data import masked_text
from schemas.http.fields import Id, Line
from schemas.http.paging import Page
from schemas.http.sms_log import SmsEntry

router = APIRouter(tags=["records"], responses=responses(400, 401, 403, 422, 429, 503))

Word = Annotated[str, Query(min_length=1, max_length=40, pattern="^[a-z_-]+$")]
NEWEST_FIRST = paging.Order(SmsAlertLogRow.at, SmsAlertLogRow.entry_id, newest_first=True)


@router.get("/v1/sms-log")
async def list_sms(
    caller: Reader,
    services: Used,
    wanted: paging.Wanted,
    alert_id: Annotated[Line | None, Query(description="Only about this alert: why was nobody called?")] = None,
    user_id: Annotated[Id | None, Query(description="Only to this contact")] = None,
    outcome: Annotated[Word | None, Query(description="Only this decision, such as sent or rate_limited")] = None,
    since: Annotated[Moment | None, Query(description="Decided at or after this")] = None,
) -> Page[SmsEntry]:
    """Every decision about an SMS, the newest first."""
    entries = select(SmsAlertLogRow).where(SmsAlertLogRow.organization_id == caller.organization_id)
    if alert_id is not None:
        entries = entries.where(SmsAlertLogRow.alert_id == alert_id)
    if user_id is not None:
        entries = entries.where(SmsAlertLogRow.user_id == caller.qualified(user_id))
    if outcome is not None:
        entries = entries.where(SmsAlertLogRow.outcome == outcome)
    async with services.transaction() as session:
        if (begin := await instant_of(session, caller, "since", since)) is not None:
            entries = entries.where(SmsAlertLogRow.at >= begin)
        found = await NEWEST_FIRST.find(session, entries, wanted)
    return found.page(_entry)


def _entry(row: SmsAlertLogRow) -> SmsEntry:
    entry = SmsEntry.model_validate(row)
    return entry.model_copy(update={"error": entry.error and masked_text(entry.error)})
