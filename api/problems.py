"""Errors as RFC 9457 problems: what is wrong, and what to do. No stack trace leaves the process."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from fastapi import FastAPI, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from api import validation_texts
from domain.personal_data import masked_line
from outbox.writer import MessageTooLargeError
from schemas.http.problems import InvalidPart, ProblemBody

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import Request

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = {"Retry-After": "2"}


class Problem(HTTPException):
    """An error for the client. `slug` names its kind, `more` adds members to the body."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        slug: str | None = None,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[InvalidPart] = (),
        more: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.slug = slug
        self.errors = errors
        self.more = more or {}


def not_found(what: str, name: str) -> Problem:
    """The same for a missing resource and for another organization's."""
    return Problem(HTTPStatus.NOT_FOUND, f"There is no {what} {name}.")


def conflict(detail: str) -> Problem:
    return Problem(HTTPStatus.CONFLICT, detail)


def invalid(pointer: str, detail: str) -> Problem:
    """A well-formed value that cannot be used."""
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"{pointer}: {detail}",
        slug="invalid",
        errors=[InvalidPart(pointer=pointer, detail=detail)],
    )


def unavailable(detail: str) -> Problem:
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=RETRY_AFTER)


def database_unavailable(path: str) -> Problem:
    log.warning("api.database_unavailable", path=path)
    return unavailable("The database does not answer; nothing changed. Try again.")


def rendered(error: HTTPException) -> Response:
    """The response for an error."""
    status = HTTPStatus(error.status_code)
    slug = getattr(error, "slug", None) or status.phrase.lower().replace(" ", "-")
    body = {
        "type": f"urn:freshtrack:{slug}",
        "title": status.phrase,
        "status": status.value,
        "detail": error.detail,
        **({"errors": [part.model_dump() for part in errors]} if (errors := getattr(error, "errors", ())) else {}),
        **getattr(error, "more", {}),
    }
    return Response(masked_line(json.dumps(body)), status, headers=error.headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Render every error as a problem."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _wrong_shape)
    app.add_exception_handler(MessageTooLargeError, _too_large)
    for away in (OSError, DBAPIError, PoolTimeoutError):
        app.add_exception_handler(away, _database)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # Starlette names the methods of the first route with this path only.
        methods = {
            method
            for route in request.app.state.routes
            if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
            for method in route.methods or ()
        }
        error = Problem(
            HTTPStatus.METHOD_NOT_ALLOWED,
            f"{request.method} is not allowed here, only {', '.join(sorted(methods))}.",
            headers={"Allow": ", ".join(sorted(methods))},
        )
    return rendered(error)


def _wrong_shape(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()[:20]
    parts = [
        InvalidPart(
            pointer=_pointer(part["loc"]),
            detail=validation_texts.sentence(part["type"], part.get("ctx", {}), part.get("input")),
        )
        for part in found
    ]
    for part in found:
        if part["type"] == "json_invalid":
            detail = f"The body is not JSON (at character {part['loc'][-1]})."
            return rendered(Problem(HTTPStatus.BAD_REQUEST, detail, slug="not-json"))
    detail = "; ".join(f"{part.pointer}: {part.detail}" for part in parts[:3])
    return rendered(Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, slug="invalid", errors=parts))


def _pointer(location: Sequence[str | int]) -> str:
    where, *path = location or ("body",)
    if where == "body":
        return "/" + "/".join(str(step).replace("~", "~0").replace("/", "~1") for step in path)
    return str(path[0]) if path else str(where)


def _too_large(_: Request, error: Exception) -> Response:
    return rendered(Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), slug="too-large-for-kafka"))


def _database(request: Request, error: Exception) -> Response:
    if isinstance(error, IntegrityError):
        return rendered(conflict("Somebody else changed this at the same time; read it again, then retry."))
    if isinstance(error, DataError | ProgrammingError):
        return rendered(unexpected(request.url.path, error))
    return rendered(database_unavailable(request.url.path))


def unexpected(path: str, error: Exception) -> Problem:
    """An unexpected error: logged with its stack trace, reported without."""
    log.error("api.failed", path=path, error=type(error).__name__, exc_info=error)
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "An unexpected error occurred and was logged.")


def documented(*statuses: int) -> dict[int, dict[str, object]]:
    """As `responses`, for a finished OpenAPI document."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}},
        }
        for status in statuses
    }


def responses(*statuses: int) -> dict[int | str, dict[str, object]]:
    """For OpenAPI: these errors have a problem as their body."""
    return {status: {**response, "model": ProblemBody} for status, response in documented(*statuses).items()}
