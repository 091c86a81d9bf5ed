"""Metrics are for this machine, until somebody opens them."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from local.ports import free_port
from streams.engine.metrics import serve_metrics
from streams.engine.settings import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Callable

# Loopback too, but not the address that the server has: whoever listens on all addresses answers here.
ELSEWHERE = "127.0.0.2"


class FakeApp:
    """A worker that starts at once."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.worker_settings = settings
        self.consumer = SimpleNamespace(member=SimpleNamespace(counts={}))
        self.on_worker_init = self

    def connect(self, start: Callable[[], None], **_: Any) -> None:
        start()


def answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize(("host", "elsewhere"), [(None, False), ("0.0.0.0", True)])
def test_metrics_listen_on_loopback_unless_a_setting_opens_them(host: str | None, elsewhere: bool) -> None:
    settings = WorkerSettings.model_validate({} if host is None else {"METRICS_HOST": host})
    port = free_port()
    serve_metrics(FakeApp(settings), port, list)
    assert answers("127.0.0.1", port)
    assert answers(ELSEWHERE, port) is elsewhere
