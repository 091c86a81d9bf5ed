"""A worker of two topics: one is slow and has a backlog, the other tells how late its records are handled."""

# ruff: noqa: E402 - the event loop is chosen before Faust is imported
from __future__ import annotations

import mode.loop

mode.loop.use("uvloop")

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.own_topic import own_topic
from streams.engine.app import create_app
from streams.engine.consumer import Batch, each_batch
from streams.engine.settings import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SLOW_BATCH = 50
SLOW_BATCH_S = 0.2


class Job(msgspec.Struct, frozen=True):
    """`lines` gets `slow N` for each batch of N, and `fast MS` for each record that was MS milliseconds under way."""

    group: str
    slow: str
    fast: str
    lines: str


def main() -> None:
    job = msgspec.json.decode(sys.argv[1], type=Job)
    app = create_app(
        job.group,
        WorkerSettings(queued_batches=3, max_batch=SLOW_BATCH),
        batched=[own_topic(job.slow), own_topic(job.fast)],
        applied_offset_of=None,
    )
    with Path(job.lines).open("a", encoding="utf-8", buffering=1) as lines:

        async def slow(batch: Batch) -> None:
            await asyncio.sleep(SLOW_BATCH_S)
            lines.write(f"slow {len(batch.records)}\n")

        async def fast(batch: Batch) -> None:
            now_ms = time.time() * 1000
            lines.writelines(f"fast {now_ms - record.timestamp:.1f}\n" for record in batch.records)

        def agent(topic: str, handle: Callable[[Batch], Awaitable[None]]) -> None:
            async def flow(stream: Any) -> None:
                await each_batch(app, stream, handle)

            app.agent(app.topic(topic, key_serializer="raw", value_serializer="raw"), name=f"flow.{topic}")(flow)

        agent(job.slow, slow)
        agent(job.fast, fast)
        sys.argv = ["lanes", "worker", "-l", "info", "--without-web"]
        app.main()


if __name__ == "__main__":
    main()
