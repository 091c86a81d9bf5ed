"""Entity tags of configuration: nobody overwrites somebody else's change by accident (RFC 9110, section 13)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import Response

from api.problems import Problem, responses

if TYPE_CHECKING:
    from fastapi import Request
    from pydantic import BaseModel

_ETAG = {
    "description": "The version of what the body shows; send it in If-Match to change exactly this version",
    "schema": {"type": "string", "examples": ['"7"']},
}
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of the version that you read. If the resource has changed since, the response is 412 and"
    " nothing changes. Without it, or with *, the newest version is changed.",
    "schema": {"type": "string", "examples": ['"7"']},
}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of the version that you have; 304 without a body while it is still the newest",
    "schema": {"type": "string", "examples": ['"7"']},
}
# Parts of the OpenAPI document.
GUARDED: dict[str, Any] = {"parameters": [_IF_MATCH]}
CACHED: dict[str, Any] = {"parameters": [_IF_NONE_MATCH]}


def tagged(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These responses have an ETag."""
    return {
        status: {"description": HTTPStatus(status).phrase, "headers": {"ETag": _ETAG}}
        for status in statuses or (HTTPStatus.OK.value,)
    }


def guarded(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """412, which carries the current version, and other errors."""
    found = responses(HTTPStatus.PRECONDITION_FAILED.value, *statuses)
    found[HTTPStatus.PRECONDITION_FAILED.value]["headers"] = {"ETag": _ETAG}
    return found


def tag(version: int | str) -> str:
    return f'"{version}"'


def _listed(header: str) -> set[str]:
    # Weak tags are fine for If-None-Match; If-Match must not take them, and ours are never weak.
    return {part.strip() for part in header.split(",")}


def must_match(request: Request, version: int | str) -> None:
    """Raises Problem (412) when If-Match names another version than the current one."""
    header = request.headers.get("If-Match")
    if header is not None and header.strip() != "*" and tag(version) not in _listed(header):
        raise Problem(
            HTTPStatus.PRECONDITION_FAILED,
            f"The current version is {tag(version)}, not {header[:100]}. Read it again, then retry.",
            headers={"ETag": tag(version)},
        )


def answer(request: Request, view: BaseModel, version: int | str, *, status: int = HTTPStatus.OK) -> Response:
    """The body with its tag, or 304 where a GET names the same version in If-None-Match."""
    headers = {"ETag": tag(version)}
    header = request.headers.get("If-None-Match")
    if header is not None and request.method == "GET":
        known = {part.removeprefix("W/") for part in _listed(header)}
        if header.strip() == "*" or tag(version) in known:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(view.model_dump_json(), status, headers, "application/json")
