"""Times in queries: an instant, or a date, which begins at midnight in the organization's timezone."""

from datetime import UTC, date, datetime, time
from typing import Annotated

from fastapi import Query
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from api.authentication import Caller
from api.organizations import organization_of
from api.problems import invalid
from api.validation_texts import INSTANT
from domain.digest.schedule import zone
from schemas.http.fields import Instant

Moment = Annotated[str, Query(max_length=40, examples=["2026-03-01T12:00:00Z", "2026-03-01"])]

_INSTANT = TypeAdapter(Instant)


async def instant_of(session: AsyncSession, caller: Caller, parameter: str, given: str | None) -> datetime | None:
    """Raises Problem (422) for what is neither an instant with a zone nor a date, from 2000 to 8999."""
    if given is None:
        return None
    try:
        day = date.fromisoformat(given)
    except ValueError:
        return _instant(parameter, given)
    organization = await organization_of(session, caller.organization_id)
    midnight = datetime.combine(day, time(), tzinfo=zone(organization.timezone)) if 2000 <= day.year < 8999 else None
    return _instant(parameter, given) if midnight is None else midnight.astimezone(UTC)


def _instant(parameter: str, given: str) -> datetime:
    try:
        found: datetime = _INSTANT.validate_python(given)
    except ValidationError:
        raise invalid(parameter, f"{INSTANT}, or a date such as 2026-03-01, from 2000 to 8999") from None
    return found
