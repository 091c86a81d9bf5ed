"""Erases a person for an admin and hands out the receipt."""

from http import HTTPStatus

from fastapi import Response

from api.authentication import ADMINISTER, Caller
from api.problems import Problem, not_found
from api.services import Services
from outbox.erasure import erase_person
from schemas.http.erasures import ErasureReceipt


async def erase(caller: Caller, services: Services, user_id: str) -> Response:
    """Erase a contact, or one who was deleted earlier; a repeated request gets the same receipt."""
    if caller.role not in ADMINISTER:
        raise Problem(HTTPStatus.FORBIDDEN, "An erasure cannot be undone; it requires a key with the role admin.")
    async with services.transaction() as session:
        whom = caller.qualified(user_id)
        receipt = await erase_person(session, caller.organization_id, whom, by=caller.name, now=services.now())
        if receipt is None:
            raise not_found("contact", user_id)
        shown = ErasureReceipt.model_validate(receipt)
    return Response(shown.model_dump_json(), HTTPStatus.OK, media_type="application/json")
