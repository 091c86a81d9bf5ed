"""The style sheet and the scripts, under addresses that change with their content."""

import mimetypes
from http import HTTPStatus

from fastapi import APIRouter, Response

from api.pages.rendering import STATIC, static_path
from api.problems import Problem

router = APIRouter(include_in_schema=False)

# Nothing but these is served, whatever a path says.
NAMES = frozenset(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.suffix in (".js", ".css"))


@router.get("/static/{digest}/{name:path}")
async def static_file(digest: str, name: str) -> Response:
    if name not in NAMES or static_path(name) != f"/static/{digest}/{name}":
        raise Problem(HTTPStatus.NOT_FOUND, "There is no such file.")
    return Response(
        (STATIC / name).read_bytes(),
        media_type=mimetypes.guess_type(name)[0],
        headers={"Cache-Control": "public, max-age=31536000, immutable"},
    )
