"""Sending many records to one partition at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.engine.batch_writer import BatchWriter
from streams.engine.publish import sending

if TYPE_CHECKING:
    from collections.abc import Sequence

    import faust

    from schemas.topic import AnyTopic
    from streams.engine.publish import Outgoing


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
