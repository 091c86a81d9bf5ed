"""Requests made up from the OpenAPI document, sent to a real process: no 5xx, and no answer that it does not allow."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from schemas.roles import Role
from tests.api.provider_events import PUBLIC_KEY
from tests.api.worlds import furnish
from tests.api_world import UNSUBSCRIBE_SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.settings import KafkaSettings
    from tests.api_world import Api
    from tests.conftest import Eventually

pytestmark = [pytest.mark.anyio, pytest.mark.broker, pytest.mark.postgres]

ROOT = Path(__file__).resolve().parents[2]
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


@pytest.fixture
def kafka_address(kafka_settings: KafkaSettings) -> KafkaSettings:
    return kafka_settings


@contextlib.contextmanager
def serving(api: Api) -> Iterator[str]:
    """`freshtrack api` on a free port; SIGTERM must end it in good order."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "DATABASE_URL": api.database.url.render_as_string(hide_password=False),
        "KAFKA_BOOTSTRAP_SERVERS": api.kafka.bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": api.kafka.topic_prefix,
        "API_REQUESTS_PER_S": "100000",
        "TELNYX_PUBLIC_KEY": PUBLIC_KEY,
        "UNSUBSCRIBE_SECRET": UNSUBSCRIBE_SECRET,
    }
    command = [sys.executable, "-m", "cli", "api", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            _, logged = process.communicate(timeout=40)
    assert "api.failed" not in logged, logged
    assert process.returncode == 0, logged


def answers(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/readyz").status_code == 200
    return False


async def check(api: Api, eventually: Eventually, tmp_path: Path, *options: str) -> None:
    await furnish(api.database)
    key = (await api.key(Role.ADMIN, "acme"))["Authorization"]
    with serving(api) as url:
        await eventually.awaited(lambda: asyncio.to_thread(answers, url), within_s=30)
        done = await asyncio.create_subprocess_exec(
            *(SCHEMATHESIS, "--config-file", ROOT / "tests/api/schemathesis.toml", "run", f"{url}/openapi.json"),
            *("--header", f"Authorization: {key}", "--checks", "all", *options),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
        )
        told = (await done.communicate())[0].decode()
    assert done.returncode == 0, told[-8_000:]


async def test_no_request_breaks_the_contract(api: Api, eventually: Eventually, tmp_path: Path) -> None:
    await check(
        api, eventually, tmp_path, "--phases", "coverage,fuzzing", "--max-examples", "2", "--generation-deterministic"
    )


@pytest.mark.long
async def test_no_request_breaks_the_contract_in_the_long_run(api: Api, eventually: Eventually, tmp_path: Path) -> None:
    await check(api, eventually, tmp_path, "--max-examples", "300")
