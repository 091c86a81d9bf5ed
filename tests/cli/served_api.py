"""The API of a test behind a real port, for commands and clients that know it by its address only."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import uvicorn

from api.app import create_app
from api.settings import ApiSettings
from local.ports import free_port
from tests.outbox.relays import address_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastapi import FastAPI

    from tests.api_world import Api


def app_of(api: Api, clock: Callable[[], float] = time.monotonic, **settings: float) -> FastAPI:
    return create_app(ApiSettings.model_validate(settings), address_of(api.database), api.kafka, clock=clock)


@contextmanager
def serving(app: FastAPI, headers: dict[str, str]) -> Iterator[httpx.Client]:
    """A client of the application, which runs in a thread with a loop of its own."""
    server = uvicorn.Server(uvicorn.Config(app, port=free_port(), log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        transport = httpx.HTTPTransport(retries=8)
        address = f"http://127.0.0.1:{server.config.port}"
        with httpx.Client(base_url=address, headers=headers, trust_env=False, transport=transport) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(20)
