"""Entity tags of configuration: nobody overwrites what somebody else changed meanwhile (RFC 9110, section 13)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import Response

from api.problems import Problem

if TYPE_CHECKING:
    from fastapi import Request
    from pydantic import BaseModel


def tag(version: int | str) -> str:
    return f'"{version}"'


def _listed(header: str) -> set[str]:
    # Weak tags are fine for If-None-Match; If-Match must not take them, and ours are never weak.
    return {part.strip() for part in header.split(",")}


def must_match(request: Request, version: int | str) -> None:
    """Raises Problem (412) when If-Match names another version than the present one."""
    header = request.headers.get("If-Match")
    if header is not None and header.strip() != "*" and tag(version) not in _listed(header):
        raise Problem(
            HTTPStatus.PRECONDITION_FAILED,
            f"Its version is {tag(version)} now, you changed {header[:100]}. Read it again and repeat.",
            headers={"ETag": tag(version)},
        )


def answer(request: Request, view: BaseModel, version: int | str, *, status: int = HTTPStatus.OK) -> Response:
    """The body with its tag, or 304 without a body when a GET names the same version in If-None-Match."""
    headers = {"ETag": tag(version)}
    header = request.headers.get("If-None-Match")
    if header is not None and request.method == "GET":
        known = {part.removeprefix("W/") for part in _listed(header)}
        if header.strip() == "*" or tag(version) in known:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(view.model_dump_json(), status, headers, "application/json")
