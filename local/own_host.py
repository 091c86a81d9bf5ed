"""Lets servers of the demo answer this machine's own programs and pages, and no website that is open beside them.

They listen on loopback, but every page in the user's browser reaches loopback too: by a request across sites, or by a
name of its own that resolves to 127.0.0.1 (DNS rebinding), which shows in the Host header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

OWN = frozenset({"127.0.0.1", "localhost", "::1"})
READS = frozenset({"GET", "HEAD", "OPTIONS"})
# Browsers tell where a request comes from; programs that are no browsers send neither header.
FROM_HERE = frozenset({"same-origin", "none"})


class OwnHost:
    """Wraps an application: 421 for another host's name, 403 for a change that another site asks for."""

    def __init__(self, app: Asgi) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := _refusal(scope)) is not None:
            status, text = refusal
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": text.encode()})
            return
        await self._app(scope, receive, send)


def _refusal(scope: Scope) -> tuple[int, str] | None:
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    host = headers.get(b"host", "")
    if _name(host) not in OWN:
        return 421, "This server is for this machine only: ask for it as localhost or 127.0.0.1.\n"
    if scope["method"] in READS:
        return None
    origin = headers.get(b"origin")
    site = headers.get(b"sec-fetch-site", "none")
    if site not in FROM_HERE or (origin is not None and origin != f"http://{host}"):
        return 403, "Another site may not change anything here.\n"
    return None


def _name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
