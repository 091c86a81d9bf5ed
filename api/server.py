"""Serves the application with uvicorn, which does not bound a request's head itself: neither its size nor its time."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

    from fastapi import FastAPI

    from api.settings import ApiSettings


class BoundedHead(HttpToolsProtocol):
    """Answers 431 to a larger head, and closes the connection when a head takes longer."""

    limit_bytes: ClassVar[int]
    limit_s: ClassVar[float]

    _head_bytes = 0
    _in_head = True
    _too_slow: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self._in_head:
            self._expect_head()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self.limit_bytes:
            self._refuse()
        elif not self.transport.is_closing():
            super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.limit_bytes:
                self._refuse()

    def on_body(self, body: bytes) -> None:
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.transport.is_closing():
            super().on_message_complete()

    def _expect_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._too_slow = self.loop.call_later(self.limit_s, self.transport.close)

    def _stop_timer(self) -> None:
        if self._too_slow is not None:
            self._too_slow.cancel()
            self._too_slow = None

    def _refuse(self) -> None:
        if self.transport.is_closing():
            return
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        text = f"A request line and its headers may have {self.limit_bytes} bytes.".encode()
        self.transport.write(
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
            f"content-length: {len(text)}\r\nconnection: close\r\n\r\n".encode()
            + text
        )
        self.transport.close()


def bounded(limit_bytes: int, limit_s: float) -> type[BoundedHead]:
    """The protocol with its limits: uvicorn makes its instances itself."""
    return type("Bounded", (BoundedHead,), {"limit_bytes": limit_bytes, "limit_s": limit_s})


def serve(application: FastAPI, settings: ApiSettings, *, host: str, port: int) -> None:
    """Serve until SIGTERM; requests under way then have 30 s to finish."""
    uvicorn.run(
        application,
        host=host,
        port=port,
        loop="uvloop",
        http=bounded(settings.head_limit_bytes, settings.head_limit_s),
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        limit_concurrency=settings.connection_limit,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=30,
        # Python's defaults: TLS 1.2 at least, no weak ciphers.
        ssl_certfile=settings.tls_cert_file,
        ssl_keyfile=settings.tls_key_file,
    )
