"""Sending many records to one partition at once: a tenth of what `publish` costs for each."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from streams.engine.publish import PublishError, RecordTooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import faust

    from schemas.topics import AnyTopic
    from streams.engine.publish import Outgoing


async def publish_run(app: faust.App, topic: AnyTopic, partition: int, records: Sequence[Outgoing]) -> None:
    """Send the records, in order, to the partition of `topic`; their own topics are not looked at.

    Returns when the broker has all of them. Raises PublishError when one was refused or not acknowledged within the
    app's `send_limit_s`, RecordTooLargeError for one that no batch can hold.
    """
    name = app.worker_settings.topic(topic.name)
    producer = app.producer._ensure_producer()  # noqa: SLF001 - Faust has no batches
    sent: list[asyncio.Future[Any]] = []
    try:
        async with asyncio.timeout(app.send_limit_s):
            for batch in _batches(producer, name, records):
                batch.close()
                sent.append(await producer.send_batch(batch, name, partition=partition))
            await asyncio.gather(*sent)
    except PublishError:
        raise
    except Exception as error:
        raise PublishError(f"sending {len(records)} records to {name}[{partition}] failed: {error!r}") from error
    finally:
        # Those that fail after the first failure have nobody else who looks at them.
        for future in sent:
            future.add_done_callback(_look_at)


def _batches(producer: Any, topic: str, records: Iterable[Outgoing]) -> Iterator[Any]:  # noqa: ANN401 - no types
    now_ms = int(time.time() * 1000)
    batch = producer.create_batch()
    for record in records:
        if _append(batch, record, now_ms):
            continue
        if batch.record_count():
            yield batch
        batch = producer.create_batch()
        if not _append(batch, record, now_ms):
            raise RecordTooLargeError(f"a record of key {record.key!r} does not fit in a batch for {topic}")
    if batch.record_count():
        yield batch


def _append(batch: Any, record: Outgoing, now_ms: int) -> bool:  # noqa: ANN401 - aiokafka ships no types
    found = batch.append(timestamp=now_ms, key=record.key, value=record.value, headers=list(record.headers))
    return found is not None


def _look_at(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
