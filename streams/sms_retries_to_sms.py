"""`sms-retries` → a durable timer → back to the request's lane when it is due."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from schemas import messages as m
from schemas.topics import SMS_LANES
from streams.timers import Timer, Timers

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.consumer import Batch
    from streams.sms_outcomes import Outcomes

_decode = msgspec.json.Decoder(m.SmsRetry).decode


class Retries:
    """Sets one timer a retry; its id is made of the request and the attempt, so a re-run replaces it."""

    def __init__(self, timers: Timers, outcomes: Outcomes, topic_name: Callable[[str], str]) -> None:
        self._timers = timers
        self._outcomes = outcomes
        self._topic_name = topic_name

    async def handle(self, batch: Batch) -> None:
        timers: list[Timer] = []
        for record in batch.records:
            try:
                retry = _decode(record.value or b"")
            except msgspec.MsgspecError as error:
                await self._outcomes.unreadable(record, str(error))
                continue
            timers.append(self._timer(retry))
        await self._timers.set(batch, timers)

    def _timer(self, retry: m.SmsRetry) -> Timer:
        request = retry.request
        timer_id = f"{request.request_id}.{retry.attempt}"
        return Timer(
            timer_id=timer_id,
            due_at_ms=retry.due_at_ms,
            topic=self._topic_name(SMS_LANES[request.severity].name),
            key=request.user_id.encode(),
            value=m.encode(request),
            headers=(
                ("id", timer_id.encode()),
                ("type", b"sms"),
                ("attempt", str(retry.attempt).encode()),
                ("error", retry.error.encode()),
                ("error-code", retry.error_code.encode()),
                ("due-at", str(retry.due_at_ms).encode()),
            ),
        )
