"""The relay: moves the outbox from PostgreSQL to Kafka, in order per key, at least once and in effect once.

One relay works, any number stand by: a session lock of PostgreSQL says which. Everything goes through the one
connection that holds the lock, so a relay that lost it can neither read nor delete.

After a crash: rows are deleted after the broker's acknowledgement, so if a relay dies in between, its successor
publishes them again, under the same `id` header, still in order; the last message of a key stays the last.
A relay that is frozen (SIGSTOP, a paused machine) loses its session after SESSION_LIMIT_S; its own unsent messages
have expired by then (DELIVERY_LIMIT_S), so that none can overtake its successor's when it wakes up.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import asyncpg
import structlog
from prometheus_client import Gauge

from outbox.delivery import DELIVERY_LIMIT_S, deliver
from outbox.writer import CHANNEL
from producers.errors import NotDeliveredError
from producers.kafka import KafkaProducer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from broker.settings import KafkaSettings
    from database.engine import DatabaseSettings

log = structlog.get_logger(__name__)

LEADING = Gauge("freshtrack_relay_leading", "1 while this relay holds the lock, 0 while it stands by")

RELAY_LOCK = 7_204_110_002
SESSION_LIMIT_S = 30
# The outbox is read this often even without a notification, which also keeps the session from being idle.
LOOK_EVERY_S = 5.0
TRY_LOCK_EVERY_S = 0.5
RETRY_S = (0.2, 5.0)


class LostLeadError(ConnectionError):
    """The session that held the lock is gone: another relay may be at work."""


class Relay:
    """`run()` works until `stop()`; after a failure it starts again with a new session and producer.

    `housekeeping` runs for as long as this relay leads.
    """

    def __init__(
        self, database: DatabaseSettings, kafka: KafkaSettings, housekeeping: Callable[[], Awaitable[None]]
    ) -> None:
        self._database = database
        self._kafka = kafka
        self._housekeeping = housekeeping
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self.published = 0

    def stop(self) -> None:
        """Ends `run()` after the batch in hand."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Returns when stopped. While the broker or the database is away, it waits and logs."""
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
        housekeeping = asyncio.ensure_future(self._housekeeping())
        try:
            # Listening begins before the first look, so that nothing falls between the two.
            await connection.add_listener(CHANNEL, lambda *_: self._wake.set())
            while not self._stopping.is_set():
                self._wake.clear()
                delivered = await deliver(connection, producer)
                self.published += delivered.messages
                if delivered.error is not None:
                    raise NotDeliveredError(delivered.error)
                if not delivered.messages and not self._stopping.is_set():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), LOOK_EVERY_S)
                if connection.is_closed():
                    raise LostLeadError("the database ended the session that holds the relay's lock")
        finally:
            housekeeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await housekeeping
            with contextlib.suppress(NotDeliveredError):
                await asyncio.to_thread(producer.close, 0)
