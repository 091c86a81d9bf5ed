"""Contacts: the people who are notified. Only callers who may change numbers and addresses see them unmasked."""

import uuid
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from api import entity_tags, erasures, idempotency, paging
from api.authentication import CONFIGURE, Caller
from api.organizations import organization_of
from api.ownership import assign, insert_row, must_have_room, row_of
from api.problems import conflict, invalid, responses
from api.services import Configurer, Reader, Used
from database.configuration import ApiKeyRow, ContactRow
from domain.notification.phone import masked, phone_problem
from outbox import configuration, writer
from schemas import messages as m
from schemas.http.contacts import ContactBody, ContactView, NewContact
from schemas.http.erasures import ErasureReceipt
from schemas.http.fields import ID_PATTERN
from schemas.http.paging import Page

router = APIRouter(tags=["contacts"], responses=responses(400, 401, 403, 404, 422, 429, 503))

UserId = Annotated[str, Path(pattern=ID_PATTERN)]
BY_ID = paging.Order(ContactRow.user_id)


def masked_email(email: str) -> str:
    """The first letter and the domain."""
    name, _, domain = email.rpartition("@")
    return f"{name[:1]}***@{domain}"


def _view(row: ContactRow, contact: m.Contact, *, whole: bool) -> ContactView:
    fields = {name: getattr(contact, name) for name in ContactView.model_fields.keys() - {"created_at"}}
    view = ContactView.model_validate(fields | {"created_at": row.created_at})
    return view if whole else view.model_copy(update=_masked(contact))


def _masked(contact: m.Contact) -> dict[str, str | None]:
    phone, email = contact.phone_e164, contact.email
    return {"phone_e164": phone and masked(phone), "email": email and masked_email(email)}


def _write(row: ContactRow, body: ContactBody) -> None:
    if body.phone_e164 is not None and (problem := phone_problem(body.phone_e164)) is not None:
        raise invalid("/phone_e164", problem)
    assign(row, body, ContactBody.model_fields)


async def _shown(
    session: AsyncSession, row: ContactRow, caller: Caller, request: Request, status: int = HTTPStatus.OK
) -> Response:
    await session.flush()
    contact = (await configuration.contacts(session, [row.user_id]))[row.user_id]
    view = _view(row, contact, whole=caller.role in CONFIGURE)
    return entity_tags.answer(request, view, _version(row, contact), status=status)


async def _must_match(session: AsyncSession, row: ContactRow, request: Request) -> None:
    contact = (await configuration.contacts(session, [row.user_id]))[row.user_id]
    entity_tags.must_match(request, _version(row, contact))


def _version(row: ContactRow, contact: m.Contact) -> str:
    """The level and the opt-out are part of the view, but not of the row."""
    return f"{row.version}-{contact.escalation_level}{'o' if contact.sms_opted_out else ''}"


async def _forget_fallback(session: AsyncSession, row: ContactRow) -> None:
    """Whoever is no longer a contact is not paged as the last one either."""
    organization = await organization_of(session, row.organization_id, lock=True)
    if organization.fallback_user_id == row.user_id:
        organization.fallback_user_id = None
        organization.version += 1
        await writer.publish_organizations(session, [row.organization_id])


async def _revoke_keys_of(session: AsyncSession, user_id: str, now: datetime) -> list[str]:
    """Whoever is no longer a contact can no longer act as one."""
    keys = update(ApiKeyRow).where(ApiKeyRow.user_id == user_id, ApiKeyRow.revoked_at.is_(None))
    return list(await session.scalars(keys.values(revoked_at=now).returning(ApiKeyRow.key_id)))


@router.get("/v1/contacts")
async def list_contacts(caller: Reader, services: Used, wanted: paging.Wanted) -> Page[ContactView]:
    """The organization's contacts in the order of their ids, numbers and addresses masked."""
    mine = select(ContactRow).where(ContactRow.organization_id == caller.organization_id)
    async with services.transaction() as session:
        found = await BY_ID.find(session, mine, wanted)
        contacts = await configuration.contacts(session, [row.user_id for row in found.rows])
    return found.page(lambda row: _view(row, contacts[row.user_id], whole=False))


@router.post(
    "/v1/contacts",
    status_code=HTTPStatus.CREATED,
    response_model=ContactView,
    responses={**responses(409), **entity_tags.tagged(201)},
    openapi_extra=idempotency.DOCUMENTED,
)
async def create_contact(body: NewContact, caller: Configurer, services: Used, request: Request) -> Response:
    """Make a contact. A number that answered STOP gets no SMS, whoever has it now."""

    async def work(session: AsyncSession) -> Response:
        organization = await organization_of(session, caller.organization_id, lock=True)
        await must_have_room(session, ContactRow, caller.organization_id, organization.max_contacts)
        shown_id = body.user_id or str(uuid.uuid4())
        user_id = caller.qualified(shown_id)
        row = await insert_row(
            session,
            ContactRow,
            {"user_id": user_id, "organization_id": caller.organization_id, "name": body.name},
        )
        if row is None:
            raise conflict(f"The user id {shown_id} is taken; choose another or leave it out.")
        _write(row, body)
        await writer.publish_contacts(session, [user_id])
        response = await _shown(session, row, caller, request, HTTPStatus.CREATED)
        response.headers["Location"] = f"/v1/contacts/{shown_id}"
        return response

    return await idempotency.once(request, caller, services, work)


@router.get(
    "/v1/contacts/{user_id}",
    response_model=ContactView,
    responses=entity_tags.tagged(200, 304),
    openapi_extra=entity_tags.CACHED,
)
async def get_contact(user_id: UserId, caller: Reader, services: Used, request: Request) -> Response:
    """A contact; members see number and address masked."""
    async with services.transaction() as session:
        return await _shown(session, await row_of(session, ContactRow, caller, user_id), caller, request)


@router.put(
    "/v1/contacts/{user_id}",
    response_model=ContactView,
    responses={**entity_tags.tagged(), **entity_tags.guarded()},
    openapi_extra=entity_tags.GUARDED,
)
async def replace_contact(
    user_id: UserId, body: ContactBody, caller: Configurer, services: Used, request: Request
) -> Response:
    """Replace a contact."""
    async with services.transaction() as session:
        row = await row_of(session, ContactRow, caller, user_id, lock=True)
        await _must_match(session, row, request)
        _write(row, body)
        row.version += 1
        await writer.publish_contacts(session, [row.user_id])
        return await _shown(session, row, caller, request)


@router.delete(
    "/v1/contacts/{user_id}",
    status_code=HTTPStatus.NO_CONTENT,
    responses={**entity_tags.guarded(), 200: {"model": ErasureReceipt, "description": "The receipt of an erasure"}},
    openapi_extra=entity_tags.GUARDED,
)
async def delete_contact(
    user_id: UserId,
    caller: Configurer,
    services: Used,
    request: Request,
    erase: Annotated[bool, Query(description="Erase the person from all records too, for good; for admins")] = False,  # noqa: FBT002 - a query parameter
) -> Response:
    """Delete a contact, with its place in the escalation chain and its digest preference; its keys are revoked.

    The records of alerts and SMS keep the user id, unless `erase` puts a pseudonym in its place.
    """
    if erase:
        return await erasures.erase(caller, services, user_id)
    async with services.transaction() as session:
        row = await row_of(session, ContactRow, caller, user_id, lock=True)
        await _must_match(session, row, request)
        await _forget_fallback(session, row)
        await session.delete(row)
        for key_id in await _revoke_keys_of(session, row.user_id, services.now()):
            services.keys.forget(key_id)
        await writer.publish_contacts(session, [row.user_id])
        await writer.publish_digest_preferences(session, [row.user_id])
    return Response(status_code=HTTPStatus.NO_CONTENT)
