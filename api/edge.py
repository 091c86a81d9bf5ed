"""The outermost layer: size and time limits, security headers, metrics. Plain ASGI, because ingest is hot."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from api import acting
from api.problems import Problem, database_unavailable, rendered, unavailable, unexpected

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from api.settings import ApiSettings

ANSWERED = Counter("freshtrack_api_requests", "Requests by route and answer", ["method", "route", "status"])
TOOK = Histogram(
    "freshtrack_api_seconds",
    "Time from a request's head to the end of its answer",
    ["route"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
)
KEYED = "/v1/"
READINGS = "/v1/readings"
ANY_TYPE = (READINGS, "/v1/webhooks/")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]


class _Exchange:
    """One request and its response: counts the body's bytes, adds headers to the response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, body_limit: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._body_limit = body_limit
        self._is_open = not scope["path"].startswith(KEYED)
        self._received = 0
        self.status = 0

    def refuse_announced(self) -> None:
        """Raises Problem (413) when the announced length is over the limit."""
        for name, value in self._scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > self._body_limit:
                raise too_large(self._body_limit)

    async def receive(self) -> Message:
        if not self._is_open:
            # Nobody's body is read before the key is checked.
            await _authenticate(self._scope)
            _refuse_other_types(self._scope)
            self._is_open = True
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            if self._received > self._body_limit:
                raise too_large(self._body_limit)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            present = {name.lower() for name, _ in headers}
            headers += [header for header in SECURITY_HEADERS if header[0] not in present]
            message = {**message, "headers": headers}
        await self._send(message)


class Edge:
    """Wraps the application. A handler's own security headers take precedence."""

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        self._body_limit = settings.body_limit_bytes
        self._readings_limit = settings.readings_limit_bytes
        self._time_limit_s = settings.time_limit_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin = time.perf_counter()
        acting.nobody()
        limit = self._readings_limit if scope["path"] == READINGS else self._body_limit
        exchange = _Exchange(scope, receive, send, limit)
        try:
            await self._answer(scope, exchange)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in METHODS else "other"
            ANSWERED.labels(method, route, exchange.status or 500).inc()
            TOOK.labels(route).observe(time.perf_counter() - begin)

    async def _answer(self, scope: Scope, exchange: _Exchange) -> None:
        try:
            exchange.refuse_announced()
            async with asyncio.timeout(self._time_limit_s):
                await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:
            if exchange.status:
                raise
            if isinstance(error, TimeoutError):
                problem = unavailable(f"The request took longer than {self._time_limit_s:g} s and was cancelled.")
            else:
                problem = error if isinstance(error, Problem) else unexpected(scope["path"], error)
            await rendered(problem)(scope, exchange.receive, exchange.send)


async def _authenticate(scope: Scope) -> None:
    try:
        await scope["app"].state.services.keys.checked(scope)
    except (OSError, DBAPIError, PoolTimeoutError):
        raise database_unavailable(scope["path"]) from None


def _refuse_other_types(scope: Scope) -> None:
    """Raises Problem (415) for a body that is not announced as JSON; gateways and networks may leave that out."""
    if scope["path"].startswith(ANY_TYPE):
        return
    headers = dict(scope["headers"])
    if headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers:
        return
    kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if kind != b"application/json" and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        shown = f"not {kind[:60].decode('latin-1')}" if kind else "and this request has no Content-Type"
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The body must be announced as Content-Type: application/json, {shown}."
        )


def too_large(limit: int) -> Problem:
    """The rest of the body stays unread, so the connection closes."""
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"A body may have {limit} bytes; split it.",
        headers={"Connection": "close"},
    )
