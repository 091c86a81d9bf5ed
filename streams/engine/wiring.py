"""What every app needs to be put together: its agents, its publisher, the clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from streams.engine.batch_writer import publish_run
from streams.engine.consumer import each_batch
from streams.engine.publish import Outgoing, publish
from streams.engine.quarantine import Quarantine
from streams.engine.unreadable import quarantined

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import faust

    from schemas.topic import AnyTopic
    from streams.engine.consumer import Batch
    from streams.engine.quarantine import SetAside


def now_ms() -> int:
    return int(time.time() * 1000)


def agent(
    app: faust.App,
    topic: AnyTopic,
    handle: Callable[[Batch], Awaitable[None]],
    *,
    set_aside: SetAside,
    at_once: int = 1,
) -> None:
    """Let `handle` have the batches of `topic`, `at_once` of them side by side; `set_aside` those it fails on alone."""
    name = app.worker_settings.topic(topic.name)
    quarantine = Quarantine(handle, set_aside, app.failures)

    async def flow(stream: Any) -> None:  # noqa: ANN401 - Faust ships no types
        await each_batch(app, stream, quarantine.handle, at_once=at_once)

    app.agent(app.topic(name, key_serializer="raw", value_serializer="raw"), name=f"flow.{name}")(flow)


def dead_letters(app: faust.App, topic: AnyTopic, send: Callable[[Sequence[Outgoing]], Awaitable[None]]) -> SetAside:
    """Sets records aside in the dead-letter topic `topic`."""

    async def set_aside(batch: Batch, why: str) -> None:
        (record,) = batch.records
        await send([quarantined(record, topic, why, app.worker_settings.build, now_ms())])

    return set_aside


def run_publisher(app: faust.App) -> Callable[[AnyTopic, int, Sequence[Outgoing]], Awaitable[None]]:
    """Sends records to one partition of a topic, and returns when the broker has all of them."""

    async def send(topic: AnyTopic, partition: int, records: Sequence[Outgoing]) -> None:
        await publish_run(app, topic, partition, records)

    return send


def publisher(app: faust.App) -> Callable[[Sequence[Outgoing]], Awaitable[None]]:
    """Sends records and returns when the broker has all of them."""

    async def send(records: Sequence[Outgoing]) -> None:
        await publish(app, records)

    return send
