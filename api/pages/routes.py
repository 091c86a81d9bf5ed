"""All pages, and how their errors look."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from api.pages import alerts, live, sign_in, static_files, units
from api.pages.rendering import HTML, page
from api.pages.viewer import OrganizationRequiredError, SignInRequiredError

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response

ROUTERS = (sign_in.router, live.router, alerts.router, units.router, static_files.router)
NO_PAGES = ("/v1/", "/static/", "/metrics", "/livez", "/readyz", "/openapi.json")


def install(app: FastAPI) -> None:
    """Call after the API's own handlers are installed: what is no page stays theirs."""
    of_the_api = app.exception_handlers[HTTPException]

    async def failed(request: Request, error: Exception) -> Response:
        wants_html = HTML in request.headers.get("accept", "")
        if not wants_html or not isinstance(error, HTTPException) or request.url.path.startswith(NO_PAGES):
            answer: Response = of_the_api(request, error)  # type: ignore[assignment]  # the API's handlers are not async
            return answer
        status = HTTPStatus(error.status_code)
        return page("message.html", None, status, title=status.phrase, text=error.detail, link=("/live", "Live page"))

    app.add_exception_handler(HTTPException, failed)
    app.add_exception_handler(SignInRequiredError, _sign_in_first)
    app.add_exception_handler(OrganizationRequiredError, _choose_first)


async def _sign_in_first(request: Request, error: Exception) -> Response:
    assert isinstance(error, SignInRequiredError)
    return _go(request, error.address)


async def _choose_first(request: Request, _: Exception) -> Response:
    return _go(request, "/organization")


def _go(request: Request, address: str) -> Response:
    """A part of a page that a script fetches cannot sign in: the script goes there instead."""
    answer = RedirectResponse(address, HTTPStatus.SEE_OTHER)
    if request.headers.get("hx-request"):
        answer.status_code = HTTPStatus.UNAUTHORIZED
        answer.headers["HX-Redirect"] = address
    return answer
