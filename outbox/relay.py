"""The relay: moves the outbox from PostgreSQL to Kafka, in order per key, at least once and in effect once.

One relay works, any number stand by: a session lock of PostgreSQL says which. Everything goes through the one
connection that holds the lock, so a relay that lost it can neither read nor delete.

What a crash leaves: rows are deleted after the broker's acknowledgement, so a relay that dies in between lets its
successor publish them again, under the same `id` header, still in order; the last message of a key stays the last.
A relay that is frozen (SIGSTOP, a paused machine) loses its session after SESSION_LIMIT_S; its own unsent messages
have expired by then (DELIVERY_LIMIT_S), so that none can overtake its successor's when it wakes up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter as Counted
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg
import structlog
from prometheus_client import Counter, Gauge

from outbox.writer import CHANNEL, OUTBOX_TOPICS
from producers.errors import NotDeliveredError, QueueFullError
from producers.kafka import KafkaProducer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from confluent_kafka import KafkaError, Message

    from broker.settings import KafkaSettings
    from database.engine import DatabaseSettings

log = structlog.get_logger(__name__)

PUBLISHED = Counter("freshtrack_relay_published", "Messages that the broker acknowledged", ["topic"])
LEADING = Gauge("freshtrack_relay_leading", "1 while this relay holds the lock, 0 while it stands by")

RELAY_LOCK = 7_204_110_002
DELIVERY_LIMIT_S = 10
SESSION_LIMIT_S = 30
# Also without a notification the outbox is looked at this often; it keeps the session from being idle, too.
LOOK_EVERY_S = 5.0
TRY_LOCK_EVERY_S = 0.5
RETRY_S = (0.2, 5.0)
BATCH = 500
TOPICS = {topic.name: topic for topic in OUTBOX_TOPICS}

# At most BATCH rows of each topic: a topic that the broker refuses does not hold up the others.
NEXT_ROWS = """
SELECT o.* FROM unnest($1::text[]) AS wanted(topic), LATERAL (
    SELECT sequence, message_id, topic, key, type, value, traceparent, headers FROM outbox
    WHERE outbox.topic = wanted.topic ORDER BY sequence LIMIT $2
) AS o ORDER BY o.sequence
"""


class LostLeadError(ConnectionError):
    """The session that held the lock is gone: another relay may be at work."""


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


class Relay:
    """`run()` works until `stop()`; whatever fails, it begins anew after a pause with a new session and producer."""

    def __init__(self, database: DatabaseSettings, kafka: KafkaSettings) -> None:
        self._database = database
        self._kafka = kafka
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self.published = 0

    def stop(self) -> None:
        """Ends `run()` after the batch in hand."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Returns when stopped. The broker or the database being away is logged and waited for."""
        pause_s = RETRY_S[0]
        while not self._stopping.is_set():
            before = self.published
            try:
                async with self._session() as connection:
                    await self._wait_for_lead(connection)
                    await self._lead(connection)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, NotDeliveredError) as error:
                pause_s = RETRY_S[0] if self.published > before else min(pause_s * 2, RETRY_S[1])
                log.warning("relay.waiting", error=f"{type(error).__name__}: {error}", retry_s=pause_s)
                await self._stopped_within(pause_s)
            finally:
                LEADING.set(0)

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[Any]:
        address = self._database.address
        _, options = address.get_dialect()().create_connect_args(address)
        connection = await asyncpg.connect(
            **options,
            timeout=5,
            command_timeout=DELIVERY_LIMIT_S,
            server_settings={
                "application_name": "freshtrack relay",
                "idle_session_timeout": str(SESSION_LIMIT_S * 1000),
                "tcp_keepalives_idle": "10",
                "tcp_keepalives_interval": "5",
                "tcp_keepalives_count": "3",
            },
        )
        connection.add_termination_listener(lambda _: self._wake.set())
        try:
            yield connection
        finally:
            connection.terminate()

    async def _wait_for_lead(self, connection: Any) -> None:  # noqa: ANN401 - asyncpg has no types
        standing_by = False
        while not self._stopping.is_set():
            if await connection.fetchval("SELECT pg_try_advisory_lock($1)", RELAY_LOCK):
                LEADING.set(1)
                log.info("relay.leading")
                return
            if not standing_by:
                log.info("relay.standing_by")
                standing_by = True
            await self._stopped_within(TRY_LOCK_EVERY_S)

    async def _lead(self, connection: Any) -> None:  # noqa: ANN401 - asyncpg has no types
        producer = KafkaProducer(
            self._kafka.librdkafka() | {"delivery.timeout.ms": DELIVERY_LIMIT_S * 1000, "linger.ms": 1},
            prefix=self._kafka.topic_prefix,
        )
        try:
            # Listening begins before the first look, so that nothing falls between the two.
            await connection.add_listener(CHANNEL, lambda *_: self._wake.set())
            while not self._stopping.is_set():
                self._wake.clear()
                if not await self._move_batch(connection, producer) and not self._stopping.is_set():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), LOOK_EVERY_S)
                if connection.is_closed():
                    raise LostLeadError("the database ended the session that holds the relay's lock")
        finally:
            with contextlib.suppress(NotDeliveredError):
                await asyncio.to_thread(producer.close, 0)

    async def _move_batch(self, connection: Any, producer: KafkaProducer) -> int:  # noqa: ANN401 - asyncpg has no types
        """Publish the next rows and delete those that the broker acknowledged; returns how many.

        Raises NotDeliveredError when the broker took none or not all of them.
        """
        rows = [Waiting(*row) for row in await connection.fetch(NEXT_ROWS, list(TOPICS), BATCH)]
        if not rows:
            return 0
        errors = await _publish(producer, rows)
        done = _deletable(rows, errors)
        if done:
            await connection.execute("DELETE FROM outbox WHERE sequence = ANY($1::bigint[])", list(done))
            self.published += len(done)
            for topic, count in Counted(row.topic for row in rows if row.sequence in done).items():
                PUBLISHED.labels(topic).inc(count)
        if errors:
            sequence, error = min(errors.items())
            raise NotDeliveredError(f"{len(errors)} of {len(rows)} messages, the first {sequence}: {error}")
        return len(done)


def _deletable(rows: Sequence[Waiting], errors: dict[int, str]) -> set[int]:
    """Rows that are done: acknowledged, and no earlier row of their key failed.

    A later message of a failed one's key is published again behind it, else the older one would be the last.
    """
    held: set[tuple[str, str]] = set()
    done = set()
    for row in rows:
        if row.sequence in errors:
            held.add((row.topic, row.key))
        elif (row.topic, row.key) not in held:
            done.add(row.sequence)
    return done


async def _publish(producer: KafkaProducer, rows: Sequence[Waiting]) -> dict[int, str]:
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
