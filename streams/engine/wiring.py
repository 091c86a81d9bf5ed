"""What every app needs to be put together: its agents, its publisher, the clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from streams.engine.batch_writer import publish_run
from streams.engine.consumer import each_batch
from streams.engine.publish import Outgoing, publish

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import faust

    from schemas.topic import AnyTopic
    from streams.engine.consumer import Batch


def now_ms() -> int:
    return int(time.time() * 1000)


def agent(app: faust.App, topic: AnyTopic, handle: Callable[[Batch], Awaitable[None]], *, at_once: int = 1) -> None:
    """Let `handle` have the batches of `topic`, `at_once` of them side by side."""
    name = app.worker_settings.topic(topic.name)

    async def flow(stream: Any) -> None:  # noqa: ANN401 - Faust ships no types
        await each_batch(app, stream, handle, at_once=at_once)

    app.agent(app.topic(name, key_serializer="raw", value_serializer="raw"), name=f"flow.{name}")(flow)


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
