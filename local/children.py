"""The broker, the database, the fake Telnyx and the mailbox as children of a `Stack`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING

from local.child import Child, answers_http, listens
from local.ports import LOOPBACK

if TYPE_CHECKING:
    from local.child import Running
    from local.kafka import EmbeddedKafka
    from local.postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[1]


def kafka_child(kafka: EmbeddedKafka, name: str = "kafka") -> Child:
    """Ready when it answers a metadata request at `kafka.bootstrap`."""

    async def ready(_: Running) -> bool:
        return await asyncio.to_thread(kafka.answers)

    return Child(name=name, argv=kafka.command, ready=ready, grace_s=15)


def postgres_child(server: EmbeddedPostgres, name: str = "postgres") -> Child:
    """Ready when it takes connections at `server.url`."""

    async def ready(running: Running) -> bool:
        return server.is_ready(running.pid)

    return Child(name=name, argv=server.command, user=server.user, ready=ready, ending=SIGINT, grace_s=15)


def telnyx_child(port: int, api_key: str, name: str = "telnyx") -> Child:
    """The fake Telnyx at http://127.0.0.1:`port`."""
    command = [sys.executable, "-m", "local.telnyx", "--port", str(port), "--api-key", api_key]
    ready = answers_http(f"http://{LOOPBACK}:{port}/control/counts")
    return Child(name=name, argv=command, folder=ROOT, ready=ready, grace_s=5)


def mailbox_child(smtp_port: int, port: int, name: str = "mailbox") -> Child:
    """The mailbox: SMTP at `smtp_port`, its pages at http://127.0.0.1:`port`."""
    command = [sys.executable, "-m", "local.mailbox", "--smtp-port", str(smtp_port), "--port", str(port)]
    return Child(name=name, argv=command, folder=ROOT, ready=listens(port), grace_s=5)
