"""The embedded database: ready when it says so, with what was committed after a kill, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from local.postgres import EmbeddedPostgres, PostgresDidNotStartError, database
from tests.local.liveness import is_alive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Eventually

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def server(database_folder: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(database_folder / "own") as running:
        yield running


@pytest.fixture
def folder(database_folder: Path, request: pytest.FixtureRequest) -> Path:
    return database_folder / str(request.node.name)


def run(url: str, *statements: str) -> list[object]:
    """The last statement's first column."""

    async def execute() -> list[object]:
        engine = create_async_engine(url)
        try:
            async with engine.begin() as connection:
                for statement in statements[:-1]:
                    await connection.execute(text(statement))
                return list((await connection.execute(text(statements[-1]))).scalars())
        finally:
            await engine.dispose()

    return asyncio.run(execute())


def test_a_started_server_takes_statements_at_once_and_speaks_utc(server: EmbeddedPostgres) -> None:
    assert run(server.url, "select current_setting('timezone')") == ["UTC"]
    assert run(server.url, "select 'Kühlraum'") == ["Kühlraum"]


def test_a_stop_and_a_start_keep_the_data_and_the_url(server: EmbeddedPostgres) -> None:
    before = server.url
    run(server.url, "create table kept (x int)", "insert into kept values (1) returning x")
    server.stop()
    begin = time.monotonic()
    server.start()
    took_s = time.monotonic() - begin
    assert server.url == before
    assert run(server.url, "select x from kept") == [1]
    assert took_s < 3


def test_a_killed_server_comes_back_with_what_was_committed(server: EmbeddedPostgres) -> None:
    run(server.url, "create table survives (x int)", "insert into survives values (2) returning x")
    server.kill()
    server.start()
    assert run(server.url, "select x from survives") == [2]


def test_a_path_too_long_for_a_socket_is_no_obstacle(folder: Path) -> None:
    with EmbeddedPostgres(folder / ("long" * 30)) as server:
        assert run(server.url, "select 1") == [1]


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    server = EmbeddedPostgres(folder / "bad", extra={"shared_buffers": "plenty"})
    with pytest.raises(PostgresDidNotStartError, match=r'invalid value for parameter "shared_buffers": "plenty"'):
        server.start()
    assert not (folder / "bad" / "socket").exists()


def test_database_url_takes_the_place_of_the_embedded_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://somewhere/else")
    with database(folder / "unused") as url:
        assert url == "postgresql+asyncpg://somewhere/else"
    assert not (folder / "unused").exists()


def test_without_database_url_a_server_runs_as_long_as_the_block(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with database(folder) as url:
        assert run(url, "select 1") == [1]
    with pytest.raises(OSError, match="No such file"):
        run(url, "select 1")


def test_the_server_ends_when_its_parent_is_killed(folder: Path, eventually: Eventually) -> None:
    program = (
        "import sys; from pathlib import Path; from local.postgres import EmbeddedPostgres\n"
        "server = EmbeddedPostgres(Path(sys.argv[1])).start(); print(server.pid, flush=True)\n"
        "sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.send_signal(signal.SIGKILL)
    # In good order as a rule; by kill -9 after five seconds where the disk is slow.
    eventually(lambda: not is_alive(pid), within_s=15, what=f"{pid} is gone")
