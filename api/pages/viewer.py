"""Who looks at a page, and whether a form is one of our own.

Every form carries a token derived from the session's own, and a request from another site is refused by its
`Sec-Fetch-Site` or `Origin`.
"""

import hmac
from http import HTTPStatus
from typing import Annotated
from urllib.parse import parse_qs, quote

import msgspec
from fastapi import Depends, Request

from api import acting
from api.authentication import Caller
from api.pages import sessions
from api.problems import Problem
from api.services import services_of

CSRF_FIELD = "csrf"
READING = ("GET", "HEAD")


class SignInRequiredError(Exception):
    """Nobody is signed in; `back` is the address to return to."""

    def __init__(self, back: str) -> None:
        super().__init__(back)
        self.address = f"/sign-in?back={quote(back, safe='')}"


class OrganizationRequiredError(Exception):
    """A key over all organizations has not chosen one yet."""


class Viewer(msgspec.Struct, frozen=True):
    """The caller of the API that a session stands for, its name, and the token of its forms."""

    caller: Caller
    shown_as: str
    csrf: str
    all_organizations: bool


def csrf_of(token: str) -> str:
    """The token that a session's forms carry; it does not reveal the session's own."""
    return hmac.digest(token.encode(), b"form", "sha256").hex()


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form, the first value of each. Raises Problem (400) for bytes that are no form."""
    try:
        return {
            name: values[0] for name, values in parse_qs((await request.body()).decode(), max_num_fields=50).items()
        }
    except ValueError:
        raise Problem(HTTPStatus.BAD_REQUEST, "This is not the form of this page; open the page again.") from None


async def viewer(request: Request) -> Viewer:
    """The signed-in viewer. Raises SignInRequiredError, or Problem (403) for a form that this site did not make."""
    services = services_of(request)
    token = request.cookies.get(sessions.cookie_name(services), "")
    async with services.transaction() as session:
        found = await sessions.signed_in(session, token, services.now()) if token else None
    if found is None:
        raise SignInRequiredError(_address_of(request) if request.method in READING else "/live")
    acting.identify(request.scope, found.caller.name, found.caller.organization_id)
    known = Viewer(found.caller, found.shown_as, csrf_of(token), found.all_organizations)
    if request.method not in READING:
        refuse_other_sites(request)
        given = (await form_of(request)).get(CSRF_FIELD, "")
        if not hmac.compare_digest(given.encode(), known.csrf.encode()):
            raise Problem(HTTPStatus.FORBIDDEN, "This form is out of date. Open the page again and repeat it there.")
    return known


def refuse_other_sites(request: Request) -> None:
    """Raises Problem (403) for a request that a page of another site sends."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    foreign = origin is not None and origin.partition("://")[2] != request.headers.get("host")
    if site not in ("same-origin", "none") or foreign:
        raise Problem(HTTPStatus.FORBIDDEN, "This form came from another site. Open the page here and repeat it.")


def _address_of(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


async def _looking(request: Request) -> Viewer:
    known = await viewer(request)
    if not known.caller.organization_id:
        raise OrganizationRequiredError
    return known


Signed = Annotated[Viewer, Depends(viewer)]
"""Whoever is signed in."""
Looking = Annotated[Viewer, Depends(_looking)]
"""Whoever is signed in and looks at an organization."""
