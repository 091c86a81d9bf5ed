"""A worker that handles four batches at once; one with a slow record waits until a file is there."""

# ruff: noqa: E402 - the event loop is chosen before Faust is imported
from __future__ import annotations

import mode.loop

mode.loop.use("uvloop")

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.own_topic import own_topic
from streams.engine.app import create_app
from streams.engine.consumer import Batch, each_batch
from streams.engine.publish import Outgoing, publish
from streams.engine.settings import WorkerSettings

BATCH = 10
AT_ONCE = 4
SLOW = b"slow"


class Job(msgspec.Struct, frozen=True):
    group: str
    source: str
    out: str
    gate: str


def main() -> None:
    job = msgspec.json.decode(sys.argv[1], type=Job)
    source, out = own_topic(job.source), own_topic(job.out)
    app = create_app(job.group, WorkerSettings(max_batch=BATCH), batched=[source], applied_offset_of=None)

    async def handle(batch: Batch) -> None:
        while any(record.value == SLOW for record in batch.records) and not Path(job.gate).exists():  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.02)
        await publish(app, [Outgoing(out, b"%d" % record.offset, b"done") for record in batch.records])

    @app.agent(app.topic(job.source, key_serializer="raw", value_serializer="raw"))  # type: ignore[untyped-decorator]
    async def work(stream: Any) -> None:
        await each_batch(app, stream, handle, at_once=AT_ONCE)

    sys.argv = ["side-by-side", "worker", "-l", "info", "--without-web"]
    app.main()


if __name__ == "__main__":
    main()
