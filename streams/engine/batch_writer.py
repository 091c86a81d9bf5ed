"""Whole batches of records for one partition: a tenth of what sending each record by itself costs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeAlias

from streams.engine.publish import RecordTooLargeError, sending

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    import faust

    from schemas.topic import AnyTopic
    from streams.engine.publish import Outgoing

Row: TypeAlias = "tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes]]]"
"""Key, value and headers; a value of None deletes the key from a compacted topic."""


class BatchWriter:
    """Fills batches up to the producer's limit and sends them, in order, to one partition of a topic."""

    def __init__(self, app: faust.App, topic: str, partition: int) -> None:
        self._producer = app.producer._ensure_producer()  # noqa: SLF001 - Faust has no batches
        self._limit: int = app.conf.producer_max_batch_size
        self._topic = topic
        self._partition = partition

    def filled(self, rows: Iterable[Row]) -> list[Any]:
        """The rows in closed batches. Raises RecordTooLargeError for a row that the broker would refuse."""
        now_ms = int(time.time() * 1000)
        batches: list[Any] = []
        append: Callable[..., object] | None = None
        for key, value, headers in rows:
            # aiokafka takes a list only, and no other kind of `str`, such as that of `schemas.headers.Header`.
            plain = [(str(name), content) for name, content in headers] if headers else []
            if append is not None and append(timestamp=now_ms, key=key, value=value, headers=plain) is not None:
                continue
            # aiokafka takes the first record of a batch whatever its size.
            batch = self._producer.create_batch()
            batches.append(batch)
            append = batch.append
            append(timestamp=now_ms, key=key, value=value, headers=plain)
            if batch.size() > self._limit:
                raise RecordTooLargeError(
                    f"the record of key {key!r} for {self._topic} takes {batch.size():,} bytes, the limit is"
                    f" {self._limit:,}; nothing was sent"
                )
        for batch in batches:
            batch.close()  # or it waits for `linger`
        return batches

    def send(self, batch: Any) -> Awaitable[asyncio.Future[Any]]:  # noqa: ANN401 - aiokafka ships no types
        """Queue a batch; its future gives the offset of the batch's first record."""
        sent: Awaitable[asyncio.Future[Any]] = self._producer.send_batch(batch, self._topic, partition=self._partition)
        return sent


async def publish_run(app: faust.App, topic: AnyTopic, partition: int, records: Sequence[Outgoing]) -> None:
    """Send the records, in order, to the partition of `topic`; their own topics are ignored.

    Returns when the broker has all of them. Raises PublishError when one was refused or not acknowledged within the
    app's `send_limit_s`, RecordTooLargeError, before anything is sent, for one that no batch can hold.
    """
    name = app.worker_settings.topic(topic.name)
    writer = BatchWriter(app, name, partition)
    batches = writer.filled((record.key, record.value, record.headers) for record in records)
    async with sending(f"{len(records)} records to {name}[{partition}]", app.send_limit_s) as sent:
        for batch in batches:
            sent.append(await writer.send(batch))
