"""Handles each event of the SMS provider once: publishes a receipt or a reply, or ignores it."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog

from api.problems import Problem, unavailable
from api.single_flight import SingleFlight
from api.webhooks.telnyx import events
from api.webhooks.telnyx.event_log import SeenEvents
from api.webhooks.telnyx.signature import (
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    SignatureProblem,
    public_key,
    signature_problem,
)
from domain.notification.phone import masked, phone_problem
from domain.notification.replies import HelpWanted, understand
from producers.errors import NotDeliveredError, QueueFullError
from schemas import messages as m
from schemas.headers import type_name
from schemas.topics import SMS_INBOUND, SMS_RECEIPTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from nacl.signing import VerifyKey
    from sqlalchemy.ext.asyncio import AsyncEngine

    from producers.kafka import KafkaProducer
    from schemas.topic import AnyTopic

log = structlog.get_logger(__name__)

STALE = frozenset({SignatureProblem.TOO_OLD, SignatureProblem.TOO_NEW})


class Result(StrEnum):
    """The result of an accepted event."""

    RECEIPT = "receipt"
    REPLY = "reply"
    HELP = "help"
    REPEATED = "repeated"
    UNADDRESSED = "unaddressed"
    UNKNOWN_NUMBER = "unknown_number"
    IGNORED = "ignored"


class TelnyxWebhooks:
    """`clock` is monotonic, in seconds; `now` the wall clock, aware. Without a key every event is refused."""

    def __init__(
        self,
        engine: AsyncEngine,
        producer: KafkaProducer,
        key_base64: str | None,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._producer = producer
        self._key: VerifyKey | None = None if key_base64 is None else public_key(key_base64)
        self._now = now
        self._seen = SeenEvents(engine, clock)
        self._under_way: SingleFlight[Result] = SingleFlight()

    async def take(self, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> Result:
        """Raises Problem; the provider repeats whatever does not get 200."""
        self._check(body, headers)
        event = events.event_of(body)
        # A copy that arrives while the first is under way joins it instead of having an effect of its own.
        return await self._under_way.call(event.id, lambda: self._once(event, query))

    def _check(self, body: bytes, headers: Mapping[str, str]) -> None:
        if self._key is None:
            raise unavailable(
                "This installation does not know the provider's key. Set TELNYX_PUBLIC_KEY to the public key under Keys"
                " & Credentials in Telnyx's portal, then restart the api."
            )
        problem = signature_problem(
            self._key,
            signature=headers.get(SIGNATURE_HEADER),
            timestamp=headers.get(TIMESTAMP_HEADER),
            body=body,
            now_ms=self._now_ms(),
        )
        if problem is None:
            return
        log.warning("telnyx.refused", because=problem.value)
        if problem in STALE:
            raise Problem(
                HTTPStatus.BAD_REQUEST,
                f"This webhook is refused: {problem.value}. Send it again with a fresh timestamp. If every one is"
                " refused, check this machine's clock.",
                slug="webhook-stale",
            )
        raise Problem(
            HTTPStatus.FORBIDDEN,
            f"This webhook is refused: {problem.value}. If genuine ones are refused, TELNYX_PUBLIC_KEY belongs to"
            " another account, or a proxy changes bodies.",
            slug="webhook-signature",
        )

    async def _once(self, event: events.Event, query: Mapping[str, str]) -> Result:
        if await self._seen.knows(event.id):
            return Result.REPEATED
        if event.event_type in events.DELIVERY:
            result = await self._delivery(event, query)
        elif event.event_type == events.RECEIVED:
            result = await self._inbound(event)
        else:
            log.info("telnyx.ignored", event_type=event.event_type[:40])
            result = Result.IGNORED
        await self._seen.add(event.id)
        return result

    async def _delivery(self, event: events.Event, query: Mapping[str, str]) -> Result:
        payload = events.payload_of(event)
        about = events.addressed(payload, query)
        if about is None:
            log.warning("telnyx.unaddressed", event_type=event.event_type, message=payload.id[:60])
            return Result.UNADDRESSED
        receipt = events.receipt_of(event, payload, about, self._now_ms())
        await self._publish(SMS_RECEIPTS, receipt.user_id, receipt)
        return Result.RECEIPT

    async def _inbound(self, event: events.Event) -> Result:
        """What people sent goes on as it is: whose number it is, and what follows, the workers know."""
        payload = events.payload_of(event)
        number = payload.from_number
        if isinstance(understand(payload.text or ""), HelpWanted):
            log.info("telnyx.help_wanted", number=masked(number))
            return Result.HELP
        # Short codes and alphanumeric senders are not contacts.
        if phone_problem(number) is not None:
            log.warning("telnyx.unknown_number", number=masked(number))
            return Result.UNKNOWN_NUMBER
        inbound = events.inbound_of(event, payload, self._now_ms())
        await self._publish(SMS_INBOUND, inbound.event_id, inbound)
        return Result.REPLY

    async def _publish(self, topic: AnyTopic, key: str, message: m.Receipt | m.InboundSms) -> None:
        """Returns when the broker has acknowledged it; raises Problem (503) otherwise."""
        try:
            delivery = self._producer.publish(
                topic, key, m.encode(message), message_type=type_name(type(message)), wait_s=0
            )
            await asyncio.wrap_future(delivery)
        except (QueueFullError, NotDeliveredError) as error:
            log.warning("telnyx.not_stored", error=type(error).__name__, topic=topic.name)
            raise unavailable("Kafka did not acknowledge this. Send it again: repetitions have no effect.") from None

    def _now_ms(self) -> int:
        return round(self._now().timestamp() * 1000)
