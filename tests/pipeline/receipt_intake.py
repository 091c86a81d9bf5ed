"""The provider's webhooks for tests that need no database: receipts go to `sms-receipts` as from the api."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar, Self

from api.webhooks.telnyx.events import addressed, event_of, payload_of, receipt_of
from local.ports import LOOPBACK
from schemas.messages import encode
from schemas.topics import SMS_RECEIPTS

if TYPE_CHECKING:
    from types import TracebackType

    from tests.pipeline.conftest import Space


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    space: Space


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout: ClassVar[float] = 30

    def do_POST(self) -> None:
        event = event_of(self.rfile.read(int(self.headers["content-length"])))
        payload = payload_of(event)
        about = addressed(payload, {})
        assert about is not None
        receipt = receipt_of(event, payload, about, int(time.time() * 1000))
        self.server.space.send(SMS_RECEIPTS.name, receipt.user_id, encode(receipt))
        self.server.space.flush()
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Tests' output is for their findings."""


class ReceiptIntake:
    """Takes the provider's webhooks at `url` while the context lasts."""

    def __init__(self, space: Space) -> None:
        self._server = _Server((LOOPBACK, 0), _Handler)
        self._server.space = space
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.url = f"http://{LOOPBACK}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
