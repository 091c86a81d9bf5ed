"""Signing in and out: by API key, or by a link that works once.

Following a link changes nothing, because mail programs and scanners do that too: the page's button signs in.
"""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import select

from api.authentication import READ
from api.pages import sessions
from api.pages.rendering import page
from api.pages.viewer import Signed, form_of, refuse_other_sites
from api.problems import Problem
from api.services import Used
from database.configuration import ContactRow, OrganizationRow

router = APIRouter(include_in_schema=False)

HOME = "/live"
Token = Annotated[str, Path(max_length=100)]


def _inside(back: str) -> str:
    """The address to return to, if it is one of this site."""
    inside = back.startswith("/") and not back.startswith(("//", "/\\")) and back.isprintable()
    return back if inside else HOME


def _to(address: str) -> RedirectResponse:
    return RedirectResponse(address, HTTPStatus.SEE_OTHER)


@router.get("/")
async def home() -> Response:
    return _to(HOME)


@router.get("/sign-in")
async def show_sign_in(back: Annotated[str, Query(max_length=500)] = HOME) -> Response:
    return page("sign_in.html", None, back=_inside(back), problem="")


@router.post("/sign-in")
async def sign_in(request: Request, services: Used) -> Response:
    """With an API key. A wrong one counts against the address as it does in the API."""
    refuse_other_sites(request)
    form = await form_of(request)
    back = _inside(form.get("back", HOME))
    try:
        known = await services.keys.proven(request.scope, form.get("key", "").strip())
    except Problem as problem:
        said = "This is not a valid API key." if problem.status_code == HTTPStatus.UNAUTHORIZED else problem.detail
        return page("sign_in.html", None, HTTPStatus(problem.status_code), back=back, problem=said)
    if known.role not in READ:
        said = f"A key with the role {known.role} opens no pages."
        return page("sign_in.html", None, HTTPStatus.FORBIDDEN, back=back, problem=said)
    answer = _to(back)
    async with services.transaction() as session:
        await sessions.begin(session, answer, services, key_id=known.key_id)
    return answer


@router.get("/sign-in/{token}")
async def show_link(token: Token, services: Used) -> Response:
    """A button; it changes nothing."""
    async with services.transaction() as session:
        user_id = await sessions.use_link(session, services, token, use=False)
        contact = await session.get(ContactRow, user_id) if user_id else None
    if contact is None:
        return _spent()
    return page("sign_in_link.html", None, name=contact.name)


@router.post("/sign-in/{token}")
async def sign_in_by_link(token: Token, request: Request, services: Used) -> Response:
    refuse_other_sites(request)
    answer = _to(HOME)
    async with services.transaction() as session:
        user_id = await sessions.use_link(session, services, token, use=True)
        if user_id is None:
            return _spent()
        await sessions.begin(session, answer, services, user_id=user_id)
    return answer


def _spent() -> Response:
    return page(
        "message.html",
        None,
        HTTPStatus.GONE,
        title="This link no longer works",
        text="A sign-in link works once, and for 15 minutes. Ask for a new one.",
        link=("/sign-in", "Sign in another way"),
    )


@router.post("/sign-out")
async def sign_out(_viewer: Signed, request: Request, services: Used) -> Response:
    everywhere = bool((await form_of(request)).get("everywhere"))
    async with services.transaction() as session:
        await sessions.end(session, request, services, everywhere=everywhere)
    answer = _to("/sign-in")
    answer.delete_cookie(sessions.cookie_name(services), path="/", secure=services.pages.secure, httponly=True)
    return answer


@router.get("/organization")
async def show_organizations(viewer: Signed, services: Used) -> Response:
    """For keys over all organizations."""
    _must_see_all(viewer)
    async with services.transaction() as session:
        found = await session.scalars(select(OrganizationRow).order_by(OrganizationRow.name))
        return page("organization.html", viewer, organizations=list(found))


@router.post("/organization")
async def choose_organization(viewer: Signed, request: Request, services: Used) -> Response:
    _must_see_all(viewer)
    wanted = (await form_of(request)).get("organization", "")
    async with services.transaction() as session:
        if await session.get(OrganizationRow, wanted) is None:
            raise Problem(HTTPStatus.NOT_FOUND, "There is no such organization.")
        await sessions.choose_organization(session, request, services, wanted)
    return _to(HOME)


def _must_see_all(viewer: Signed) -> None:
    if not viewer.all_organizations:
        raise Problem(HTTPStatus.FORBIDDEN, "This requires a key for all organizations.")
