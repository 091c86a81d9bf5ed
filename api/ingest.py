"""Sends the readings of requests to the broker: checks units and quotas, bounds memory, waits for acknowledgement."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import Counter, Gauge
from sqlalchemy import select

from api.problems import unavailable
from api.reading_quotas import ReadingQuotas
from api.single_flight import SingleFlight
from database.configuration import UnitRow
from producers.errors import QueueFullError
from schemas import messages as m
from schemas.identity import qualified
from schemas.messages import DeadLetterReason as Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from confluent_kafka import KafkaError, Message
    from sqlalchemy.ext.asyncio import AsyncEngine

    from api.authentication import Caller
    from api.settings import ApiSettings
    from api.submission_forms import Part
    from producers.kafka import ReadingsProducer

TAKEN = Counter("freshtrack_api_readings", "Readings by result", ["result"])
UNSENT = Gauge("freshtrack_api_unsent_bytes", "Request bodies waiting for the broker")
KNOWN_UNITS = 200_000
# Well below the largest record that workers accept (1 MiB).
RECORD_READINGS = 5_000


class Acknowledgements:
    """Passes delivery reports from the producer's thread to the event loop, many per wake-up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._arrived: deque[tuple[Waiter, str | None]] = deque()
        self._woken = False

    def arrived(self, waiter: Waiter, error: str | None) -> None:
        """Called in the producer's thread."""
        self._arrived.append((waiter, error))
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                # The loop is closed, so nobody waits any longer.
                self._arrived.clear()

    def _deliver(self) -> None:
        # Cleared first: later arrivals wake the loop again.
        self._woken = False
        while self._arrived:
            waiter, error = self._arrived.popleft()
            waiter.answered(error)


class Waiter:
    """One request waiting until the broker has answered for all its records."""

    def __init__(self, acknowledgements: Acknowledgements) -> None:
        self._acknowledgements = acknowledgements
        self._open = 0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.error: str | None = None

    def on_delivery(self, error: KafkaError | None, _: Message) -> None:
        self._acknowledgements.arrived(self, None if error is None else error.str())

    def sent(self) -> None:
        self._open += 1

    def answered(self, error: str | None) -> None:
        self._open -= 1
        self.error = self.error or error
        if self._open == 0 and not self._done.done():
            self._done.set_result(None)

    async def wait(self, limit_s: float) -> None:
        if self._open:
            await asyncio.wait_for(self._done, limit_s)


class Unit(NamedTuple):
    """What is known of a unit, and until when on the monotonic clock."""

    gateway_id: str | None
    known_until: float


class Ingest:
    """Sends a request's readings and waits for the broker. The bytes in flight are bounded."""

    def __init__(
        self, engine: AsyncEngine, producer: ReadingsProducer, settings: ApiSettings, clock: Callable[[], float]
    ) -> None:
        self._engine = engine
        self._producer = producer
        self._settings = settings
        self._clock = clock
        self._known: dict[str, Unit] = {}
        self._acknowledgements = Acknowledgements(asyncio.get_running_loop())
        self._asking: SingleFlight[None] = SingleFlight()
        self._unsent_bytes = 0
        self._quotas = ReadingQuotas(clock)

    def forget(self, unit_id: str) -> None:
        """Ask the database about the unit again."""
        self._known.pop(unit_id, None)

    async def send(self, parts: Sequence[Part], caller: Caller, body_bytes: int) -> None:
        """Returns when the broker has acknowledged all readings that remain in `parts`; the others are refused there.

        Raises Problem: 429 over the organization's quota, 503 when the broker does not acknowledge in time, or too many
        bytes are waiting already.
        """
        if self._unsent_bytes + body_bytes > self._settings.unsent_limit_bytes:
            TAKEN.labels("unavailable").inc(sum(len(part.readings) for part in parts))
            raise unavailable("Kafka is unavailable or slower than the incoming readings. Send this again later.")
        self._quotas.use(caller, sum(len(part.readings) for part in parts))
        self._unsent_bytes += body_bytes
        UNSENT.set(self._unsent_bytes)
        try:
            await self._refuse_unknown_units(parts, caller)
            await self._publish(parts, caller.organization_id)
        finally:
            self._unsent_bytes -= body_bytes
            UNSENT.set(self._unsent_bytes)
        TAKEN.labels("accepted").inc(sum(len(part.readings) for part in parts))
        if refused := sum(part.refused for part in parts):
            TAKEN.labels("refused").inc(refused)

    async def _refuse_unknown_units(self, parts: Sequence[Part], caller: Caller) -> None:
        now = self._clock()
        ids = [caller.qualified(part.unit_id) for part in parts]
        # Kept for this request: while it asks about others, somebody may change one of these or empty the cache.
        sure = {
            unit_id: unit
            for unit_id in ids
            if (unit := self._known.get(unit_id)) is not None and unit.known_until > now
        }
        unsure = [unit_id for unit_id in ids if unit_id not in sure]
        if len(unsure) == 1:
            await self._asking.call(unsure[0], lambda: self._look_up(unsure, now))
        elif unsure:
            await self._look_up(unsure, now)
        for unit_id, part in zip(ids, parts, strict=True):
            unit = sure.get(unit_id) or self._known.get(unit_id)
            if unit is None:
                part.refuse_all(Reason.UNKNOWN_UNIT, f"there is no unit {part.unit_id}; create it first")
            elif caller.unit_id not in (None, unit_id) or caller.gateway_id not in (None, unit.gateway_id):
                part.refuse_all(Reason.UNKNOWN_UNIT, f"the unit {part.unit_id} is not one that this key is bound to")

    async def _look_up(self, unit_ids: Sequence[str], now: float) -> None:
        # PostgreSQL text cannot hold NUL, so no unit id does.
        possible = {unit_id for unit_id in unit_ids if "\x00" not in unit_id}
        wanted = select(UnitRow.unit_id, UnitRow.gateway_id).where(UnitRow.unit_id.in_(possible))
        async with self._engine.connect() as connection:
            found = (await connection.execute(wanted)).all()
        if len(self._known) > KNOWN_UNITS:
            self._known.clear()
        for unit_id in unit_ids:
            self._known.pop(unit_id, None)
        known_until = now + self._settings.unit_cache_s
        self._known.update({unit_id: Unit(gateway_id, known_until) for unit_id, gateway_id in found})

    async def _publish(self, parts: Sequence[Part], organization_id: str) -> None:
        waiter = Waiter(self._acknowledgements)
        try:
            for part in parts:
                for batch in _batches(part, organization_id):
                    self._producer.send_batch(batch, on_delivery=waiter.on_delivery, wait_s=0)
                    waiter.sent()
            await waiter.wait(self._settings.delivery_limit_s + 1)
        except (TimeoutError, QueueFullError) as error:
            raise self._not_stored(str(error) or "no acknowledgement in time") from None
        if waiter.error is not None:
            raise self._not_stored(waiter.error)

    def _not_stored(self, why: str) -> Exception:
        TAKEN.labels("unavailable").inc()
        return unavailable(
            f"Kafka did not acknowledge all readings ({why}). Send the whole request again: readings that"
            " did arrive are not counted twice."
        )


def _batches(part: Part, organization_id: str) -> Iterator[m.ReadingBatch]:
    readings = part.readings
    unit_id = qualified(organization_id, part.unit_id)
    for start in range(0, len(readings), RECORD_READINGS):
        yield m.ReadingBatch(unit_id, list(readings[start : start + RECORD_READINGS]))
