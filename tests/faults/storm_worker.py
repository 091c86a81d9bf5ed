"""One worker of a storm: counts and sums per key, and writes a line for every record that it applies or skips."""

# ruff: noqa: E402 - the event loop is chosen before Faust is imported

from __future__ import annotations

import mode.loop

mode.loop.use("uvloop")

import asyncio
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faust
import msgspec

from benchmarks.own_topic import own_topic
from streams.engine.app import create_app
from streams.engine.consumer import Batch, each_batch
from streams.engine.settings import WorkerSettings

if TYPE_CHECKING:
    from typing import TextIO


class State(msgspec.Struct, array_like=True):
    """Of one key: how many records, the sum of their values, and the offset of the last one."""

    fence: int = -1
    count: int = 0
    total: int = 0


class Job(msgspec.Struct, frozen=True):
    """A worker's only argument, as JSON."""

    group: str
    source: str
    lines: str
    stock: bool = False
    pause_s: float = 0.05
    slow_s: float = 0.0
    max_batch: int = 500
    at_once: int = 1
    partitions: int = 4


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(State).decode


def row_of(partition: int, offset: int) -> bytes:
    """The key of a record in the table of a worker that handles several batches at once."""
    return b"%d.%d" % (partition, offset)


def applied_offset_of(raw: bytes) -> int:
    return decode(raw).fence


def hardened(job: Job, settings: WorkerSettings, lines: TextIO) -> Any:
    """Our consumer and table."""
    app = create_app(job.group, settings, batched=[own_topic(job.source)], applied_offset_of=applied_offset_of)
    table = app.Table("sums", partitions=job.partitions, key_type=bytes, value_type=bytes)
    rng = random.Random()

    async def handle(batch: Batch) -> None:
        states: dict[bytes, State] = {}
        done: list[str] = []
        for record in batch.records:
            # Batches side by side have no order among them: then each record has a row of its own.
            key = record.key if job.at_once == 1 else row_of(batch.partition, record.offset)
            assert key is not None
            state = states.get(key)
            if state is None:
                raw = table.read(batch, key)
                state = states[key] = State() if raw is None else decode(raw)
            if record.offset <= state.fence:
                done.append(f"S {batch.partition} {record.offset}\n")
                continue
            state.fence = record.offset
            state.count += 1
            state.total += int(record.value or b"0")
            done.append(f"A {batch.partition} {record.offset}\n")
        lines.write("".join(done))
        lines.flush()
        await asyncio.sleep(job.pause_s * rng.random() + job.slow_s * len(batch.records))
        await table.write(batch, {key: encode(state) for key, state in states.items()})
        await asyncio.sleep(job.pause_s * rng.random())

    @app.agent(app.topic(job.source, key_serializer="raw", value_serializer="raw"))  # type: ignore[untyped-decorator]
    async def work(stream: Any) -> None:
        await each_batch(app, stream, handle, at_once=job.at_once)

    return app


def stock(job: Job, settings: WorkerSettings, lines: TextIO) -> Any:
    """Faust as it comes, with the same timeouts."""
    app = faust.App(
        job.group,
        broker=f"kafka://{settings.bootstrap_servers}",
        store="memory://",
        datadir=str(settings.data_dir),
        topic_partitions=4,
        topic_replication_factor=1,
        topic_disable_leader=True,
        web_enabled=False,
        broker_session_timeout=settings.session_timeout_s,
        broker_rebalance_timeout=settings.session_timeout_s * 1.5,
        broker_heartbeat_interval=1,
        broker_commit_interval=settings.commit_interval_s,
        worker_redirect_stdouts=False,
    )
    table = app.Table("sums", partitions=4, key_type=bytes, value_type=bytes)

    @app.agent(app.topic(job.source, key_serializer="raw", value_serializer="raw"))  # type: ignore[untyped-decorator]
    async def work(stream: Any) -> None:
        async for event in stream.events():
            message = event.message
            raw = table.get(event.key)
            state = State() if raw is None else decode(raw)
            state.fence = message.offset
            state.count += 1
            state.total += int(event.value)
            table[event.key] = encode(state)
            lines.write(f"A {message.partition} {message.offset}\n")
            lines.flush()
            await asyncio.sleep(job.slow_s)

    return app


def main() -> None:
    job = msgspec.json.decode(sys.argv[1], type=Job)
    settings = WorkerSettings(max_batch=job.max_batch)
    with Path(job.lines).open("a", encoding="utf-8") as lines:
        app = (stock if job.stock else hardened)(job, settings, lines)
        sys.argv = ["storm", "worker", "-l", "info", "--without-web"]
        app.main()


if __name__ == "__main__":
    main()
