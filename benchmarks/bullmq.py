"""BullMQ on Redis as the reference of a benchmark, from the scripts in `../shared/bench/peers/bullmq`.

They run where `node`, `npm` and `redis-server` are on the PATH; the queue's package comes from npm into a temporary
folder. Where something is missing, the benchmark says so and goes on alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from local.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT.parent / "shared/bench/peers/bullmq"
PROGRAMS = ("node", "npm", "redis-server")
INSTALL_LIMIT_S = 180
RUN_LIMIT_S = 180
RESULT = "RESULT "


class Peer:
    """Runs the scripts against a Redis of its own."""

    def __init__(self, folder: Path, redis_port: int) -> None:
        self._folder = folder
        self._environment = {**os.environ, "REDIS_PORT": str(redis_port)}

    def run(self, script: str, *arguments: str) -> dict[str, float]:
        """The figures that `script` prints, by their names there."""
        done = subprocess.run(
            ["node", script, *arguments],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=RUN_LIMIT_S,
            check=False,
        )
        for line in reversed(done.stdout.splitlines()):
            if line.startswith(RESULT):
                return msgspec.json.decode(line.removeprefix(RESULT), type=dict[str, float])
        raise RuntimeError(f"{script} printed no result: {done.stdout[-1000:]}{done.stderr[-1000:]}")


@contextmanager
def peer() -> Iterator[Peer | None]:
    """The reference, or None after saying why there is none."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing or not SCRIPTS.is_dir():
        print(f"no BullMQ beside it: {', '.join(missing) or SCRIPTS} is not here", flush=True)
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="bullmq-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for path in (*SCRIPTS.glob("*.js"), SCRIPTS / "package.json"):
            shutil.copy(path, folder)
        installed = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=INSTALL_LIMIT_S,
            check=False,
        )
        if installed.returncode != 0:
            print(f"no BullMQ beside it: npm ended with {installed.returncode}: {installed.stderr[-300:]}", flush=True)
            yield None
            return
        with _redis(folder) as port:
            yield Peer(folder, port)


@contextmanager
def _redis(folder: Path) -> Iterator[int]:
    port = free_port()
    settings = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    process = subprocess.Popen(
        ["redis-server", *settings, "--appendonly", "yes", "--appendfsync", "everysec"], stdout=subprocess.DEVNULL
    )
    try:
        yield port
    finally:
        process.terminate()
        process.wait(10)
