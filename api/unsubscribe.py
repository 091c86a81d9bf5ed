"""One-click unsubscribe (RFC 8058): the link in a digest shows a page, and only a POST unsubscribes.

Mail programs, scanners and previews follow links, so a GET changes nothing. The POST comes from the page's button, or
from the mail program (`List-Unsubscribe-Post`), with the same body.
"""

from html import escape
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import or_, select

from api import acting
from api.problems import Problem, responses, unavailable
from api.services import Services, Used
from database.configuration import DigestPreferenceRow
from domain.digest.unsubscribe import read
from outbox.writer import publish_digest_preferences
from schemas.identity import plain
from schemas.messages import Cadence

router = APIRouter(tags=["digests"])

Token = Annotated[str, Path(max_length=700, description="From the link in a digest")]
FIELD, VALUE = "List-Unsubscribe", "One-Click"

_HTML = "text/html"
_POLICY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'"
}
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 15vh auto 0; padding: 0 1rem; }}
button {{ font: inherit; padding: .6rem 1.2rem; }}
</style>
<h1>{title}</h1>
{content}
</html>
"""
_BUTTON = """<p>Press the button to stop your {cadence} summary. Alerts are not affected.</p>
<form method="post"><button name="List-Unsubscribe" value="One-Click">Unsubscribe</button></form>"""
_DONE = "<p>You will get no further {cadence} summary. Whoever set it up for you can turn it on again.</p>"
_UNKNOWN = """<p>It may have been cut off: open it from the mail again, or copy all of it.
Whoever set the summaries up for you can also remove you.</p>"""
_PAGES = {_HTML: {"schema": {"type": "string"}}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "A page for people", "content": _PAGES},
    404: {"description": "A page that says that the link is not valid", "content": _PAGES},
}


def _page(title: str, content: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(_PAGE.format(title=escape(title), content=content), status, _POLICY, _HTML)


def _meant(services: Services, token: str) -> tuple[str, Cadence] | None:
    """The user and the cadence of a link; raises Problem (503) without the secret."""
    secret = services.trust.unsubscribe_secret
    if secret is None:
        raise unavailable(
            "This installation cannot read unsubscribe links. Set UNSUBSCRIBE_SECRET to the digests worker's"
            " value, then restart the api."
        )
    return read(secret.get_secret_value().encode(), token)


def _unknown() -> Response:
    return _page("This link is not valid", _UNKNOWN, HTTPStatus.NOT_FOUND)


@router.get(
    "/unsubscribe/{token}",
    response_class=Response,
    responses={**responses(422, 503), **_ANSWERS},
    openapi_extra={"security": []},
)
async def show_unsubscribe(token: Token, services: Used) -> Response:
    """A page with a button. It changes nothing."""
    meant = _meant(services, token)
    if meant is None:
        return _unknown()
    _, cadence = meant
    return _page(f"Stop the {cadence} summary?", _BUTTON.format(cadence=cadence))


@router.post(
    "/unsubscribe/{token}",
    response_class=Response,
    responses={**responses(400, 413, 422, 503), **_ANSWERS},
    openapi_extra={
        "security": [],
        "requestBody": {
            "required": True,
            "content": {
                "application/x-www-form-urlencoded": {
                    "schema": {
                        "type": "object",
                        "properties": {FIELD: {"type": "string", "const": VALUE}},
                        "required": [FIELD],
                    }
                }
            },
        },
    },
)
async def unsubscribe(token: Token, services: Used, request: Request) -> Response:
    """Unsubscribe from a digest. Harmless when repeated, or for a deleted user."""
    meant = _meant(services, token)
    body = await request.body()
    if meant is None:
        return _unknown()
    if not _one_click(body, request.headers.get("content-type", "")):
        raise Problem(HTTPStatus.BAD_REQUEST, f"The body must be the form {FIELD}={VALUE}, as RFC 8058 says.")
    user_id, cadence = meant
    acting.identify(request.scope, f"unsubscribe link of {plain(user_id)}")
    # Links in mails from before ids were qualified name the former one.
    named = or_(DigestPreferenceRow.user_id == user_id, DigestPreferenceRow.former_id == user_id)
    wanted = select(DigestPreferenceRow).where(named).with_for_update()
    async with services.transaction() as session:
        row = (await session.scalars(wanted)).one_or_none()
        if row is not None and cadence in row.cadences:
            row.cadences = [kept for kept in row.cadences if kept != cadence]
            row.version += 1
            await publish_digest_preferences(session, [row.user_id])
    return _page("You are unsubscribed", _DONE.format(cadence=cadence))


def _one_click(body: bytes, content_type: str) -> bool:
    """RFC 8058 (section 3.1) allows both kinds of form."""
    if content_type.startswith("multipart/form-data"):
        return f'name="{FIELD}"'.encode() in body and VALUE.encode() in body
    return VALUE in parse_qs(body.decode(errors="replace")).get(FIELD, [])
