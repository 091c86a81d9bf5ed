"""`email-retries` → a durable timer → back to `email-requests` when it is due."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from schemas import messages as m
from schemas.topics import EMAIL_REQUESTS
from streams.engine.redelivery import redelivery_timer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from streams.digests.mail.records import EmailRecords
    from streams.engine.consumer import Batch
    from streams.engine.interfaces import Slot
    from streams.engine.publish import Outgoing
    from streams.engine.timers import Timer

_decode = msgspec.json.Decoder(m.EmailRetry).decode


class TimerSetter(Protocol):
    async def set(self, slot: Slot, timers: Iterable[Timer]) -> None: ...


class EmailRetries:
    """Sets one timer a retry; its id is made of the request and the attempt, so a re-run replaces it."""

    def __init__(
        self,
        timers: TimerSetter,
        records: EmailRecords,
        publish: Callable[[Sequence[Outgoing]], Awaitable[None]],
        topic_name: Callable[[str], str],
    ) -> None:
        self._timers = timers
        self._records = records
        self._publish = publish
        self._requests = topic_name(EMAIL_REQUESTS.name)

    async def handle(self, batch: Batch) -> None:
        timers: list[Timer] = []
        unreadable: list[Outgoing] = []
        for record in batch.records:
            try:
                retry = _decode(record.value or b"")
                timers.append(redelivery_timer(retry, record, self._requests, kind="email", namespace="mail|"))
            except msgspec.MsgspecError as error:
                unreadable += self._records.unreadable(record, str(error))
        await self._publish(unreadable)
        await self._timers.set(batch, timers)
