"""Readings by HTTP, acknowledged by the broker, in one process of the API: requests and readings a second.

The API checks the key, whose unit it is, and every reading; beside it, in the same run, stands a bare FastAPI endpoint
with the same producer. Run: `./freshtrack bench ingest`.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import httpx
import uvloop
from sqlalchemy.ext.asyncio import AsyncSession

from api.authentication import make_key
from benchmarks.scale import runs
from broker.partition_counts import PartitionCounts
from broker.topics import create_topics
from database.configuration import ApiKeyRow, OrganizationRow, UnitRow
from database.engine import DatabaseSettings, make_engine
from database.upgrade import upgrade
from local.guest import temporary_folder
from local.kafka import EmbeddedKafka
from local.postgres import EmbeddedPostgres
from schemas.roles import Role
from schemas.topics import READINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
UNITS = 100
CONNECTIONS = 128
SECONDS = 3.0 if runs(2) > 1 else 0.2
RUNS = runs(3)
READINGS_A_REQUEST = (1, 100)
END_OF_HEAD = b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """Sends the next request when the answer to the last one is whole; counts answers by status."""

    def __init__(self, requests: list[bytes], counts: dict[int, int], stop_at: float) -> None:
        self._requests = requests
        self._counts = counts
        self._stop_at = stop_at
        self._next = 0
        self._buffer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        self._transport.write(self._requests[self._next % len(self._requests)])
        self._next += 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(END_OF_HEAD)
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._buffer = b""
        status = int(head[9:12])
        self._counts[status] = self._counts.get(status, 0) + 1
        if time.monotonic() < self._stop_at:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def requests_of(key: str, readings: int) -> list[bytes]:
    """One for each unit, with readings of the last minutes."""
    now_ms = round(time.time() * 1000)
    made = []
    for unit in range(UNITS):
        batch = [{"at_ms": now_ms - n * 1_000, "temperature_c": 4.25} for n in range(readings)]
        body = json.dumps({"unit_id": f"unit-{unit}", "readings": batch}).encode()
        head = (
            f"POST /v1/readings HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


async def load(port: int, requests: list[bytes]) -> float:
    """Requests a second that were answered with 202; fails when one was not."""
    counts: dict[int, int] = {}
    loop = asyncio.get_running_loop()
    begin = time.monotonic()
    connections = []
    for number in range(CONNECTIONS):
        mine = requests[number % UNITS :] + requests[: number % UNITS]
        connection = Connection(mine, counts, begin + SECONDS)
        await loop.create_connection(lambda made=connection: made, "127.0.0.1", port)  # type: ignore[misc]
        connections.append(connection.done)
    await asyncio.gather(*connections)
    if set(counts) != {202}:
        raise SystemExit(f"not every request was accepted: {counts}")
    return counts[202] / (time.monotonic() - begin)


async def furnish(address: str) -> str:
    """A migrated database with the units; returns a gateway's key."""
    engine = make_engine(DatabaseSettings(url=address))
    await upgrade(engine)
    made = make_key()
    async with AsyncSession(engine) as session, session.begin():
        session.add(OrganizationRow(organization_id="acme", name="Acme"))
        await session.flush()
        session.add_all(UnitRow(unit_id=f"acme/unit-{n}", organization_id="acme", name="Unit") for n in range(UNITS))
        session.add(
            ApiKeyRow(
                key_id=made.key_id,
                organization_id="acme",
                role=Role.GATEWAY,
                name="bench",
                secret_sha256=made.secret_sha256,
            )
        )
    await engine.dispose()
    return made.key


@contextmanager
def serving(which: str, environment: dict[str, str]) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", *(("cli", "api", "--port") if which == "api" else ("benchmarks.bare_ingest",))]
    command.append(str(port))
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        while process.poll() is None:
            try:
                httpx.get(f"http://127.0.0.1:{port}/openapi.json", timeout=5)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def main() -> None:
    """Prints a table, and a JSON line with min, median and max of each."""
    figures: dict[str, list[float]] = {}
    with (
        temporary_folder("freshtrack-bench-") as folder,
        EmbeddedKafka(Path(folder) / "kafka") as broker,
        EmbeddedPostgres(Path(folder) / "postgres") as database,
    ):
        create_topics({"bootstrap.servers": broker.bootstrap}, partitions=PartitionCounts(4), topics=[READINGS])
        key = asyncio.run(furnish(database.url))
        environment = os.environ | {
            "DATABASE_URL": database.url,
            "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap,
            "API_GATEWAY_REQUESTS_PER_S": "1000000",
        }
        with serving("bare", environment) as bare, serving("api", environment) as api:
            for run in range(RUNS + 1):
                for readings in READINGS_A_REQUEST:
                    for name, port in (("bare", bare), ("api", api)):
                        rate = uvloop.run(load(port, requests_of(key, readings)))
                        if run:  # the first one warms up
                            figures.setdefault(f"{name}_{readings}", []).append(rate)
    summary = {name: [round(f(rates)) for f in (min, statistics.median, max)] for name, rates in figures.items()}
    print(f"{'':10} {'readings':>8} {'requests/s: min':>16} {'median':>8} {'max':>8} {'readings/s':>11} {'ratio':>6}")
    for name, (low, middle, high) in summary.items():
        server, count = name.split("_")
        ratio = middle / summary[f"bare_{count}"][1]
        print(f"{server:10} {count:>8} {low:16} {middle:8} {high:8} {middle * int(count):11} {ratio:6.2f}")
    print(json.dumps({"benchmark": "ingest", "requests_per_s": summary}))


if __name__ == "__main__":
    main()
