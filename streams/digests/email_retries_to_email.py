"""`email-retries` → a durable timer → back to `email-requests` when it is due."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from schemas.topics import EMAIL_DLQ, EMAIL_REQUESTS, EMAIL_RETRIES
from streams.engine.decoding import decoded
from streams.engine.redelivery import redelivery_timer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.engine.consumer import Batch
    from streams.engine.interfaces import Clock, Publish, Slot
    from streams.engine.timers import Timer


class TimerSetter(Protocol):
    async def set(self, slot: Slot, timers: Iterable[Timer]) -> None: ...


class EmailRetries:
    """Sets one timer a retry; its id is made of the request and the attempt, so a re-run replaces it."""

    def __init__(self, timers: TimerSetter, publish: Publish, now_ms: Clock) -> None:
        self._timers = timers
        self._publish = publish
        self._now_ms = now_ms

    async def handle(self, batch: Batch) -> None:
        messages, dead = decoded(batch, EMAIL_RETRIES, EMAIL_DLQ, self._now_ms())
        await self._publish(dead)
        await self._timers.set(
            batch,
            [
                redelivery_timer(retry, record, EMAIL_REQUESTS, kind="email", namespace="mail|")
                for record, retry in messages
            ],
        )
