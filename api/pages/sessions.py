"""Sessions of the web pages: a random token in a cookie, of which the database keeps the digest.

The session's role and organization are read from its key or contact at every request, so a revoked key, or a deleted
contact, is signed out at once.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import delete, select, update

from api.authentication import READ, Caller
from database.configuration import ApiKeyRow, ContactRow
from database.sessions import SignInLinkRow, WebSessionRow
from schemas.roles import Role

if TYPE_CHECKING:
    from datetime import datetime

    from fastapi import Request, Response
    from sqlalchemy.ext.asyncio import AsyncSession

    from api.services import Services

LASTS = timedelta(days=30)
IDLE = timedelta(days=7)
LINK_LASTS = timedelta(minutes=15)
# `seen_at` is accurate to this: a write a request would cost more than the request.
SEEN_NOTED_EVERY = timedelta(minutes=5)


class SignedIn(msgspec.Struct, frozen=True):
    """Whom a session stands for; `caller` has no organization where a key over all of them has not chosen one."""

    caller: Caller
    shown_as: str
    all_organizations: bool


def cookie_name(services: Services) -> str:
    """`__Host-` binds the cookie to this host and to TLS; without TLS browsers refuse such a name."""
    return "__Host-freshtrack" if services.pages.secure else "freshtrack"


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


async def begin(
    session: AsyncSession,
    response: Response,
    services: Services,
    *,
    key_id: str | None = None,
    user_id: str | None = None,
) -> None:
    """Sign in: always with a new token, so that one planted before is worth nothing."""
    token, now = secrets.token_urlsafe(32), services.now()
    session.add(
        WebSessionRow(token_sha256=_digest(token), key_id=key_id, user_id=user_id, seen_at=now, expires_at=now + LASTS)
    )
    response.set_cookie(
        cookie_name(services),
        token,
        max_age=round(LASTS.total_seconds()),
        path="/",
        secure=services.pages.secure,
        httponly=True,
        samesite="lax",
    )


async def end(session: AsyncSession, request: Request, services: Services, *, everywhere: bool) -> None:
    """Sign out this browser, or every one of its key or contact."""
    row = await _row(session, request, services)
    if row is None:
        return
    mine = WebSessionRow.token_sha256 == row.token_sha256
    if everywhere:
        mine = WebSessionRow.key_id == row.key_id if row.key_id else WebSessionRow.user_id == row.user_id
    await session.execute(delete(WebSessionRow).where(mine))


async def choose_organization(
    session: AsyncSession, request: Request, services: Services, organization_id: str
) -> None:
    """For a key over all organizations: look at this one from now on."""
    row = await _row(session, request, services)
    if row is not None:
        row.organization_id = organization_id


async def make_link(session: AsyncSession, services: Services, user_id: str) -> str:
    """The path of a link that signs the contact in once, within 15 minutes."""
    token = secrets.token_urlsafe(32)
    session.add(SignInLinkRow(token_sha256=_digest(token), user_id=user_id, expires_at=services.now() + LINK_LASTS))
    return f"/sign-in/{token}"


async def use_link(session: AsyncSession, services: Services, token: str, *, use: bool) -> str | None:
    """The contact of a link that is still good; `use` spends it."""
    row = await session.get(SignInLinkRow, _digest(token), with_for_update=use)
    now = services.now()
    if row is None or row.used_at is not None or row.expires_at <= now:
        return None
    if use:
        row.used_at = now
    return row.user_id


async def _row(session: AsyncSession, request: Request, services: Services) -> WebSessionRow | None:
    token = request.cookies.get(cookie_name(services))
    return None if not token else await session.get(WebSessionRow, _digest(token))


async def signed_in(session: AsyncSession, token: str, now: datetime) -> SignedIn | None:
    """Whom the token stands for now; None for one that is unknown or has ended."""
    digest = _digest(token)
    found = (
        await session.execute(
            select(WebSessionRow, ApiKeyRow, ContactRow)
            .outerjoin(ApiKeyRow, ApiKeyRow.key_id == WebSessionRow.key_id)
            .outerjoin(ContactRow, ContactRow.user_id == WebSessionRow.user_id)
            .where(WebSessionRow.token_sha256 == digest)
        )
    ).one_or_none()
    if found is None or found[0].expires_at <= now or found[0].seen_at + IDLE <= now:
        return None
    row, key, contact = found
    if row.seen_at + SEEN_NOTED_EVERY <= now:
        await session.execute(update(WebSessionRow).where(WebSessionRow.token_sha256 == digest).values(seen_at=now))
    if key is not None:
        ends = [at for at in (key.expires_at, key.revoked_at) if at is not None]
        if (ends and min(ends) <= now) or Role(key.role) not in READ:
            return None
        chosen = key.organization_id or row.organization_id or ""
        return SignedIn(Caller(key.key_id, Role(key.role), chosen, key.user_id), key.name, key.organization_id is None)
    if contact is None:
        return None
    return SignedIn(
        Caller("", Role.MEMBER, contact.organization_id, contact.user_id), contact.name, all_organizations=False
    )
