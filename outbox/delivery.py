"""One batch of the outbox: published in order per key, and deleted as far as the broker acknowledged it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter as Counted
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import Counter

from outbox.writer import OUTBOX_TOPICS
from producers.errors import QueueFullError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import KafkaError, Message

    from producers.kafka import KafkaProducer

PUBLISHED = Counter("freshtrack_relay_published", "Messages that the broker acknowledged", ["topic"])

DELIVERY_LIMIT_S = 10
BATCH = 500
TOPICS = {topic.name: topic for topic in OUTBOX_TOPICS}

# At most BATCH rows of each topic: a topic that the broker refuses does not hold up the others.
NEXT_ROWS = """
SELECT o.* FROM unnest($1::text[]) AS wanted(topic), LATERAL (
    SELECT sequence, message_id, topic, key, type, value, traceparent, headers FROM outbox
    WHERE outbox.topic = wanted.topic ORDER BY sequence LIMIT $2
) AS o ORDER BY o.sequence
"""


class Waiting(NamedTuple):
    """A row of the outbox."""

    sequence: int
    message_id: str
    topic: str
    key: str
    type: str
    value: bytes | None
    traceparent: str | None
    headers: str | None = None  # JSON


class Delivered(NamedTuple):
    """How many messages the broker acknowledged, and why not the others."""

    messages: int
    error: str | None = None


async def deliver(connection: Any, producer: KafkaProducer) -> Delivered:  # noqa: ANN401 - asyncpg has no types
    """Publish the next rows, and delete those that the broker acknowledged."""
    rows = [Waiting(*row) for row in await connection.fetch(NEXT_ROWS, list(TOPICS), BATCH)]
    if not rows:
        return Delivered(0)
    errors = await _send(producer, rows)
    done = _deletable(rows, errors)
    if done:
        await connection.execute("DELETE FROM outbox WHERE sequence = ANY($1::bigint[])", list(done))
        for topic, count in Counted(row.topic for row in rows if row.sequence in done).items():
            PUBLISHED.labels(topic).inc(count)
    if errors:
        sequence, error = min(errors.items())
        return Delivered(len(done), f"{len(errors)} of {len(rows)} messages, the first {sequence}: {error}")
    return Delivered(len(done))


def _deletable(rows: Sequence[Waiting], errors: dict[int, str]) -> set[int]:
    """Rows that are done: acknowledged, and no earlier row of their key failed.

    A later message of a failed one's key is sent again behind it; otherwise the older one would become the newest.
    """
    held: set[tuple[str, str]] = set()
    done = set()
    for row in rows:
        if row.sequence in errors:
            held.add((row.topic, row.key))
        elif (row.topic, row.key) not in held:
            done.add(row.sequence)
    return done


async def _send(producer: KafkaProducer, rows: Sequence[Waiting]) -> dict[int, str]:
    """Send all and wait for the broker's answers; returns the errors by row."""
    loop = asyncio.get_running_loop()
    finished = asyncio.Event()
    errors: dict[int, str] = {}
    open_rows = {row.sequence for row in rows}

    def settle(sequence: int, error: str | None) -> None:
        if error is not None:
            errors[sequence] = error
        open_rows.discard(sequence)
        if not open_rows:
            finished.set()

    for number, row in enumerate(rows):

        def answered(error: KafkaError | None, _: Message, sequence: int = row.sequence) -> None:
            # The acknowledgements come from the producer's thread.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, sequence, None if error is None else error.str())

        try:
            producer.send(
                TOPICS[row.topic],
                row.key,
                row.value,
                message_type=row.type,
                record_id=row.message_id,
                traceparent=row.traceparent,
                more_headers=None if row.headers is None else json.loads(row.headers),
                on_delivery=answered,
                wait_s=0,
            )
        except QueueFullError as error:
            for unsent in rows[number:]:
                settle(unsent.sequence, str(error))
            break
    try:
        # librdkafka answers for every message within its delivery time; the rest is for a machine under load.
        await asyncio.wait_for(finished.wait(), DELIVERY_LIMIT_S * 2)
    except TimeoutError:
        errors |= dict.fromkeys(open_rows, "no answer in time")
    return errors
