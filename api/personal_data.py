"""Everything about a person, for the person: admins export it. The erasure is `DELETE /v1/contacts/{user_id}`."""

from fastapi import APIRouter

from api.contacts import UserId
from api.problems import not_found, responses
from api.services import Administrator, Used
from database.personal import person_of, records_of
from schemas.http.erasures import PersonExport

router = APIRouter(tags=["contacts"], responses=responses(400, 401, 403, 404, 422, 429, 503))


@router.get("/v1/contacts/{user_id}/export")
async def export_contact(user_id: UserId, caller: Administrator, services: Used) -> PersonExport:
    """Everything that this installation keeps about a contact, by table; for people who were deleted too."""
    async with services.transaction() as session:
        person = await person_of(session, caller.organization_id, caller.qualified(user_id))
        if person is None:
            raise not_found("contact", user_id)
        tables = await records_of(session, person)
    return PersonExport(user_id=user_id, exported_at=services.now(), tables=tables)
