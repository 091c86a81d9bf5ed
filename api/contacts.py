"""Contacts: the people who are told. Numbers and addresses are shown whole only to those who may change them."""

import uuid
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api import entity_tags, idempotency, paging
from api.keys import CONFIGURE, Caller
from api.organizations import organization_of
from api.problems import conflict, invalid, not_found, responses
from api.services import Configurer, Reader, Used
from database.configuration import ContactRow
from domain.notification.phone import masked, phone_problem
from outbox import writer
from schemas import messages as m
from schemas.http.contacts import ContactBody, ContactView, NewContact
from schemas.http.fields import ID_PATTERN
from schemas.http.paging import Page

router = APIRouter(tags=["contacts"], responses=responses(400, 401, 403, 404, 422, 429, 503))

UserId = Annotated[str, Path(pattern=ID_PATTERN)]


async def contact_of(session: AsyncSession, caller: Caller, user_id: str, *, lock: bool = False) -> ContactRow:
    """The caller's contact; raises Problem (404) also when it is another organization's."""
    wanted = select(ContactRow).where(
        ContactRow.user_id == user_id, ContactRow.organization_id == caller.organization_id
    )
    row = (await session.scalars(wanted.with_for_update() if lock else wanted)).one_or_none()
    if row is None:
        raise not_found("contact", user_id)
    return row


def masked_email(email: str) -> str:
    """The first letter and the domain."""
    name, _, domain = email.rpartition("@")
    return f"{name[:1]}***@{domain}"


def _view(row: ContactRow, contact: m.Contact, *, whole: bool) -> ContactView:
    phone, email = contact.phone_e164, contact.email
    return ContactView(
        user_id=row.user_id,
        name=row.name,
        phone_e164=phone if whole or phone is None else masked(phone),
        email=email if whole or email is None else masked_email(email),
        minimum_severity=contact.minimum_severity,
        on_duty=row.on_duty,
        escalation_level=contact.escalation_level,
        sms_opted_out=contact.sms_opted_out,
        created_at=row.created_at,
    )


def _write(row: ContactRow, body: ContactBody) -> None:
    if body.phone_e164 is not None and (problem := phone_problem(body.phone_e164)) is not None:
        raise invalid("/phone_e164", problem)
    row.name = body.name
    row.phone_e164 = body.phone_e164
    row.email = body.email
    row.minimum_severity = body.minimum_severity
    row.on_duty = body.on_duty


async def _shown(
    session: AsyncSession, row: ContactRow, caller: Caller, request: Request, status: int = HTTPStatus.OK
) -> Response:
    await session.flush()
    contact = (await writer.contacts(session, [row.user_id]))[row.user_id]
    view = _view(row, contact, whole=caller.role in CONFIGURE)
    return entity_tags.answer(request, view, _version(row, contact), status=status)


async def _must_match(session: AsyncSession, row: ContactRow, request: Request) -> None:
    contact = (await writer.contacts(session, [row.user_id]))[row.user_id]
    entity_tags.must_match(request, _version(row, contact))


def _version(row: ContactRow, contact: m.Contact) -> str:
    """A level or an opt-out changes what is shown without changing the contact itself."""
    return f"{row.version}-{contact.escalation_level}{'o' if contact.sms_opted_out else ''}"


@router.get("/v1/contacts")
async def list_contacts(
    caller: Reader, services: Used, limit: paging.Limit = 50, cursor: paging.Cursor = None
) -> Page[ContactView]:
    """The organization's contacts in the order of their ids, numbers and addresses masked."""
    after = paging.position(cursor, str)
    wanted = select(ContactRow).where(ContactRow.organization_id == caller.organization_id)
    if after is not None:
        wanted = wanted.where(ContactRow.user_id > after[0])
    async with services.transaction() as session:
        rows = list(await session.scalars(wanted.order_by(ContactRow.user_id).limit(limit + 1)))
        found = await writer.contacts(session, [row.user_id for row in rows])
    return paging.page(
        rows,
        limit,
        lambda row: _view(row, found[row.user_id], whole=False),
        lambda row: paging.cursor_of(row.user_id),
    )


@router.post(
    "/v1/contacts",
    status_code=HTTPStatus.CREATED,
    response_model=ContactView,
    responses={**responses(409), **entity_tags.tagged(201)},
    openapi_extra=idempotency.DOCUMENTED,
)
async def create_contact(body: NewContact, caller: Configurer, services: Used, request: Request) -> Response:
    """Make a contact. A number that answered STOP stays silent, whoever it is given to."""

    async def work(session: AsyncSession) -> Response:
        organization = await organization_of(session, caller.organization_id, lock=True)
        if organization.max_contacts is not None:
            mine = select(func.count()).where(ContactRow.organization_id == caller.organization_id)
            if (await session.execute(mine)).scalar_one() >= organization.max_contacts:
                raise conflict(f"Your organization may have {organization.max_contacts} contacts.")
        user_id = body.user_id or str(uuid.uuid4())
        made = await session.scalars(
            insert(ContactRow)
            .values(user_id=user_id, organization_id=caller.organization_id, name=body.name)
            .on_conflict_do_nothing()
            .returning(ContactRow)
        )
        row = made.one_or_none()
        if row is None:
            raise conflict(f"The user id {user_id} is taken; choose another or leave it out.")
        _write(row, body)
        await writer.publish_contacts(session, [user_id])
        response = await _shown(session, row, caller, request, HTTPStatus.CREATED)
        response.headers["Location"] = f"/v1/contacts/{user_id}"
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
        return await _shown(session, await contact_of(session, caller, user_id), caller, request)


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
        row = await contact_of(session, caller, user_id, lock=True)
        await _must_match(session, row, request)
        _write(row, body)
        row.version += 1
        await writer.publish_contacts(session, [user_id])
        return await _shown(session, row, caller, request)


@router.delete(
    "/v1/contacts/{user_id}",
    status_code=HTTPStatus.NO_CONTENT,
    responses=entity_tags.guarded(),
    openapi_extra=entity_tags.GUARDED,
)
async def delete_contact(user_id: UserId, caller: Configurer, services: Used, request: Request) -> None:
    """Delete a contact, with the place in the escalation chain and the digest preference."""
    async with services.transaction() as session:
        row = await contact_of(session, caller, user_id, lock=True)
        await _must_match(session, row, request)
        await session.delete(row)
        await writer.publish_contacts(session, [user_id])
        await writer.publish_digest_preferences(session, [user_id])
