"""`email-retries` → a durable timer → back to `email-requests` when it is due."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from schemas import messages as m
from schemas.headers import Header
from schemas.topics import EMAIL_REQUESTS
from streams.timers import Timer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from streams.consumer import Batch, Record
    from streams.engine.publish import Outgoing
    from streams.mail.records import EmailRecords
    from streams.tables import Slot

_decode = msgspec.json.Decoder(m.EmailRetry).decode

_CARRIED = (Header.TRACEPARENT, Header.ORIGINAL_TOPIC, Header.ORIGINAL_PARTITION, Header.ORIGINAL_OFFSET)


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
                timers.append(self._timer(_decode(record.value or b""), record))
            except msgspec.MsgspecError as error:
                unreadable += self._records.unreadable(record, str(error))
        await self._publish(unreadable)
        await self._timers.set(batch, timers)

    def _timer(self, retry: m.EmailRetry, record: Record) -> Timer:
        request = retry.request
        id_ = f"{request.request_id}.{request.redrives}.{retry.attempt}"
        carried = tuple((name, value) for name, value in record.headers if name in _CARRIED)
        return Timer(
            timer_id=f"mail|{id_}",
            due_at_ms=retry.due_at_ms,
            topic=self._requests,
            key=request.user_id.encode(),
            value=m.encode(request),
            headers=(
                ("id", id_.encode()),
                ("type", b"email"),
                ("attempt", str(retry.attempt).encode()),
                ("error", retry.error.encode()),
                ("error-code", retry.error_code.encode()),
                ("due-at", str(retry.due_at_ms).encode()),
                *carried,
            ),
        )
