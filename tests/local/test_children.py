"""Broker, database, fake Telnyx and mailbox under the supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from typing import TYPE_CHECKING

import httpx
import pytest

from local.children import kafka_child, mailbox_child, postgres_child, telnyx_child
from local.kafka import EmbeddedKafka
from local.ports import free_port, is_free
from local.postgres import EmbeddedPostgres
from local.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Eventually

pytestmark = [pytest.mark.anyio, pytest.mark.broker, pytest.mark.postgres]


@pytest.fixture(scope="module")
def anyio_backend() -> Iterator[str]:
    """Asyncio's own loop, also where a worker's module made uvloop the default: that cannot start a child as a user."""
    former = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(None)
    yield "asyncio"
    asyncio.set_event_loop_policy(former)


def came_back(stack: Stack, name: str) -> bool:
    return stack.starts(name) == 2


async def test_all_run_in_a_stack_and_come_back_when_killed(
    tmp_path: Path, database_folder: Path, eventually: Eventually
) -> None:
    kafka, server = EmbeddedKafka(tmp_path / "kafka"), EmbeddedPostgres(database_folder / "stack")
    port, smtp_port, mailbox_port = free_port(), free_port(), free_port()
    notices: list[str] = []
    stack = Stack(
        [
            kafka_child(kafka),
            postgres_child(server),
            telnyx_child(port, "key"),
            mailbox_child(smtp_port, mailbox_port),
        ],
        on_notice=lambda _, sentence: notices.append(sentence),
    )
    await asyncio.wait_for(stack.start(), 60)
    try:
        assert await asyncio.to_thread(kafka.answers)
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"http://127.0.0.1:{port}/control/counts")).json()["arrivals"] == 0
            assert (await client.get(f"http://127.0.0.1:{mailbox_port}/")).is_success

        for name in ("kafka", "postgres"):
            pid = stack.pid(name)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await eventually.awaited(partial(came_back, stack, name))
            await asyncio.wait_for(stack.ready(name), 30)

        assert sorted(sentence.split()[0] for sentence in notices) == ["kafka", "postgres"]
    finally:
        await asyncio.wait_for(stack.stop(), 30)
    assert all(map(is_free, (port, smtp_port, mailbox_port)))
    assert is_free(int(kafka.bootstrap.rpartition(":")[2]))
