"""A worker that does nothing but keep timers: it sets and cancels them as its orders say."""

# ruff: noqa: E402 - the event loop is chosen before Faust is imported
from __future__ import annotations

import mode.loop

mode.loop.use("uvloop")

import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.own_topic import own_topic
from streams.engine.app import create_app
from streams.engine.applied_offset import applied_offset_of
from streams.engine.consumer import Batch, each_batch
from streams.engine.publish import Outgoing, publish
from streams.engine.settings import WorkerSettings
from streams.engine.timer_rows import Declared
from streams.engine.timers import Timer, Timers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.topic import AnyTopic

PARTITIONS = 4


class Job(msgspec.Struct, frozen=True):
    """`orders` is what the worker reads, `fired` where timers publish; `partitions` is of both, and of the table."""

    group: str
    orders: str
    fired: str
    partitions: int = PARTITIONS


class Order(msgspec.Struct, frozen=True, array_like=True):
    """Set the timer, or cancel it where no time is given. The record's key is the timer's id."""

    timer_id: str
    due_at_ms: int | None


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Order).decode


def timer(order: Order, topic: AnyTopic) -> Timer:
    """What it publishes says which timer it was and when it was due, which also is the receiver's idempotency key."""
    assert order.due_at_ms is not None
    due = b"%d" % order.due_at_ms
    raw_id = order.timer_id.encode()
    return Timer(
        timer_id=order.timer_id,
        due_at_ms=order.due_at_ms,
        topic=topic,
        key=raw_id,
        value=raw_id,
        headers=(("id", raw_id + b"." + due), ("due-at", due)),
    )


def main() -> None:
    job = msgspec.json.decode(sys.argv[1], type=Job)
    orders, fired = own_topic(job.orders), own_topic(job.fired)
    settings = WorkerSettings(max_batch=2_000)
    app = create_app(job.group, settings, batched=[orders], applied_offset_of=applied_offset_of)
    table = app.Table("timers", partitions=job.partitions, key_type=bytes, value_type=bytes)

    async def send(records: Sequence[Outgoing]) -> None:
        await publish(app, records)

    timers = Timers(table, send, lambda: int(time.time() * 1000), Declared([fired]))

    async def handle(batch: Batch) -> None:
        newest = {order.timer_id: order for record in batch.records for order in (decode(record.value or b""),)}
        await timers.set(batch, [timer(order, fired) for order in newest.values() if order.due_at_ms is not None])
        await timers.cancel(batch, [order.timer_id for order in newest.values() if order.due_at_ms is None])

    @app.agent(app.topic(job.orders, key_serializer="raw", value_serializer="raw"))  # type: ignore[untyped-decorator]
    async def work(stream: Any) -> None:  # noqa: ANN401 - Faust ships no types
        await each_batch(app, stream, handle)

    app.task(timers.run)
    sys.argv = ["timers", "worker", "-l", "info", "--without-web"]
    app.main()


if __name__ == "__main__":
    main()
