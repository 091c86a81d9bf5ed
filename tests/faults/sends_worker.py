"""A worker whose sends fail from the record `poison` on, in the way that its job says."""

# ruff: noqa: E402 - the event loop is chosen before Faust is imported
from __future__ import annotations

import mode.loop

mode.loop.use("uvloop")

import asyncio
import sys
from typing import Any

import msgspec
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.produce import ProduceRequest

from benchmarks.own_topic import own_topic
from streams.engine.app import create_app
from streams.engine.consumer import Batch, Stale, each_batch
from streams.engine.publish import Outgoing, publish
from streams.engine.settings import WorkerSettings

BATCH = 10
POISON = b"poison"
# More than the topic of a refusing broker takes.
LARGE = b"x" * 5_000


class Job(msgspec.Struct, frozen=True):
    """`fault`: none, refused, hanging, lost, returned (once, before the send); `at`: publish, table."""

    group: str
    source: str
    out: str
    fault: str
    at: str


def break_sends(fault: str) -> None:
    """From now on requests to produce get no answer, or no connection; all others go through."""
    send = AIOKafkaClient.send

    async def broken(self: Any, node: Any, request: Any, **options: Any) -> Any:
        if isinstance(request, ProduceRequest):
            if fault == "hanging":
                await asyncio.Event().wait()
            raise KafkaConnectionError("the connection was lost")
        return await send(self, node, request, **options)

    AIOKafkaClient.send = broken


def main() -> None:
    job = msgspec.json.decode(sys.argv[1], type=Job)
    source, out = own_topic(job.source), own_topic(job.out)
    app = create_app(job.group, WorkerSettings(max_batch=BATCH), batched=[source], applied_offset_of=None)
    table = app.Table("seen", partitions=1, key_type=bytes, value_type=bytes)

    returned: list[int] = []

    async def handle(batch: Batch) -> None:
        poisoned = any(record.value == POISON for record in batch.records)

        def value(at: str, good: bytes) -> bytes:
            return LARGE if poisoned and job.fault == "refused" and job.at == at else good

        if poisoned and job.fault == "returned" and not returned:
            returned.append(batch.epoch)
            raise Stale
        if returned:
            assert batch.epoch > returned[0]

        def break_at(at: str) -> None:
            if poisoned and job.fault in {"hanging", "lost"} and job.at == at:
                break_sends(job.fault)

        break_at("publish")
        await publish(app, [Outgoing(out, b"%d" % r.offset, value("publish", b"done")) for r in batch.records])
        break_at("table")
        await table.write(batch, {b"%d" % record.offset: value("table", b"seen") for record in batch.records})

    @app.agent(app.topic(job.source, key_serializer="raw", value_serializer="raw"))  # type: ignore[untyped-decorator]
    async def work(stream: Any) -> None:
        await each_batch(app, stream, handle)

    sys.argv = ["sends", "worker", "-l", "info", "--without-web"]
    app.main()


if __name__ == "__main__":
    main()
