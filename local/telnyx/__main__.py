"""`python -m local.telnyx --port 8099 --api-key KEY`: the fake as a process, on loopback."""

from __future__ import annotations

import argparse
import asyncio
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from local.own_host import OwnHost
from local.ports import LOOPBACK
from local.telnyx.app import FakeTelnyx


class DroppableConnection(HttpToolsProtocol):
    """Lets the application close its connection without an answer, which ASGI has no word for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - passed on as they come
        super().__init__(*args, **kwargs)
        self.app_state = {**self.app_state, "drop_connection": partial(self._drop)}

    def _drop(self) -> None:
        self.transport.abort()


async def serve(port: int, api_key: str) -> None:
    """Until SIGTERM or Ctrl-C."""
    config = uvicorn.Config(
        OwnHost(FakeTelnyx(api_key)),
        host=LOOPBACK,
        port=port,
        http=DroppableConnection,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=2,
    )
    await uvicorn.Server(config).serve()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.telnyx", description="A fake Telnyx, on loopback only.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--api-key", default="fake-telnyx-key")
    options = parser.parse_args()
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(options.port, options.api_key))


if __name__ == "__main__":
    main()
