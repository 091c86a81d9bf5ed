"""Free loopback ports that stay free."""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A loopback port nobody listens on, below the range that the system gives to outgoing connections.

    A server must find its port again after a restart. From the outgoing range (32768 and up) it could be taken in the
    meantime, even by a client that reconnects to that very port and ends up connected to itself.
    """
    choice = random.SystemRandom()
    for _ in range(200):
        port = choice.randrange(20_000, 32_000)
        if is_free(port):
            return port
    raise OSError("no free loopback port between 20000 and 32000 found in 200 tries")


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Servers set this too: without it a connection in TIME_WAIT would make the port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
