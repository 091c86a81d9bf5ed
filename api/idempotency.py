"""`Idempotency-Key`: a repeated POST has no second effect and gets the first response."""

from __future__ import annotations

import hashlib
import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import Response
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from api.problems import Problem, invalid
from database.queues import IdempotencyKeyRow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import Request
    from sqlalchemy.ext.asyncio import AsyncSession

    from api.authentication import Caller
    from api.services import Services

HEADER = "Idempotency-Key"
KEPT_HEADERS = ("etag", "location", "content-type")
PARAMETER = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Any text of your choice; repeat it when you repeat the request. Kept for two days.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
}
DOCUMENTED = {"parameters": [PARAMETER]}


async def once(
    request: Request, caller: Caller, services: Services, work: Callable[[AsyncSession], Awaitable[Response]]
) -> Response:
    """Run `work` in a transaction. With the header, the response is stored in the same transaction.

    Of two concurrent requests with one key, the second waits and gets the first one's response. A failed request
    stores nothing, so it may be repeated.
    """
    name = request.headers.get(HEADER)
    async with services.transaction() as session:
        if name is None:
            return await work(session)
        if not (1 <= len(name) <= 200 and all("!" <= character <= "~" for character in name)):
            raise invalid(HEADER, "must be 1 to 200 visible ASCII characters")
        digest = await _digest(request, caller)
        # Whoever inserts first does the work; a second request waits here for the end of the first one's transaction.
        mine = await session.execute(
            insert(IdempotencyKeyRow)
            .values(
                key_id=_owner(caller), idempotency_key=name, request_sha256=digest, status=0, headers="{}", body=b""
            )
            .on_conflict_do_nothing()
            .returning(IdempotencyKeyRow.status)
        )
        if mine.first() is None:
            return await _kept(session, caller, name, digest)
        response = await work(session)
        headers = {key: response.headers[key] for key in KEPT_HEADERS if key in response.headers}
        await session.execute(
            update(IdempotencyKeyRow)
            .where(IdempotencyKeyRow.key_id == _owner(caller), IdempotencyKeyRow.idempotency_key == name)
            .values(status=response.status_code, headers=json.dumps(headers), body=bytes(response.body))
        )
        return response


def _owner(caller: Caller) -> str:
    """Whose the name is: a key's, or a contact's who is signed in to the pages without one."""
    return caller.key_id or f"user:{caller.user_id}"


async def _digest(request: Request, caller: Caller) -> bytes:
    whole = hashlib.sha256(f"{request.method} {request.url.path} {caller.organization_id}\n".encode())
    whole.update(await request.body())
    return whole.digest()


async def _kept(session: AsyncSession, caller: Caller, name: str, digest: bytes) -> Response:
    kept = (
        await session.scalars(
            select(IdempotencyKeyRow).where(
                IdempotencyKeyRow.key_id == _owner(caller), IdempotencyKeyRow.idempotency_key == name
            )
        )
    ).one()
    if kept.request_sha256 != digest:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"The {HEADER} {name} was used for another request; choose a new one.",
            slug="idempotency-key-reused",
        )
    return Response(kept.body, kept.status, {**json.loads(kept.headers), "Idempotency-Replayed": "true"})
