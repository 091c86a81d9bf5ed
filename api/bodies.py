"""Bodies of limited size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.edge import too_large

if TYPE_CHECKING:
    from fastapi import Request

LIMIT_BYTES = 262_144


async def small_body(request: Request, limit_bytes: int = LIMIT_BYTES) -> bytes:
    """The raw body; raises Problem (413) as soon as it is larger than `limit_bytes`."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit_bytes:
        raise too_large(limit_bytes)
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit_bytes:
            raise too_large(limit_bytes)
    return bytes(body)
