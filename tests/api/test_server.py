"""The head of a request is bounded in size and time, and so are the connections."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest
import uvicorn

from api.server import bounded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Receive, Scope, Send

    from tests.conftest import Eventually

LIMIT_BYTES = 2_000


async def echo(_scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the size of the body."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    text = str(size).encode()
    headers = [(b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})


@pytest.fixture
def address(eventually: Eventually) -> Iterator[tuple[str, int]]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            echo, http=bounded(LIMIT_BYTES, 0.5), lifespan="off", log_config=None, limit_concurrency=20
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        eventually(lambda: server.started)
        yield listening.getsockname()
        server.should_exit = True
        thread.join()


def exchange(address: tuple[str, int], *parts: bytes) -> bytes:
    """What comes back until the server closes the connection."""
    with socket.create_connection(address, timeout=10) as connection:
        answer = b""
        for part in parts:
            connection.sendall(part)
        while chunk := connection.recv(65_536):
            answer += chunk
        return answer


CLOSE = b"Connection: close\r\n"


def test_an_ordinary_request_is_served_also_a_second_one_on_its_connection(address: tuple[str, int]) -> None:
    first = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5_000
    second = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n" + CLOSE + b"\r\nxyz"
    answer = exchange(address, first, second)
    assert answer.count(b"200 OK") == 2
    assert answer.endswith(b"\r\n\r\n3")


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * LIMIT_BYTES + b"\r\n\r\n",
        b"GET /" + b"y" * LIMIT_BYTES + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * LIMIT_BYTES + b"\r\n",
        # one that never ends
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 3 * LIMIT_BYTES,
    ],
)
def test_a_head_that_is_too_large_is_refused(address: tuple[str, int], head: bytes) -> None:
    assert exchange(address, head).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_a_head_that_does_not_come_ends_the_connection(address: tuple[str, int], head: bytes) -> None:
    assert exchange(address, head) == b""
