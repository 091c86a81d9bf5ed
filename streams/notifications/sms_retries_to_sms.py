"""`sms-retries` → a durable timer → back to the request's lane when it is due; overdue receipts → a question."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import msgspec

from schemas import messages as m
from schemas.topics import SMS_LANES
from streams.engine.redelivery import redelivery_timer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from streams.engine.consumer import Batch
    from streams.engine.publish import Outgoing
    from streams.engine.timers import Timer, Timers
    from streams.notifications.outcomes import Outcomes

_decode: msgspec.json.Decoder[m.SmsReturn] = msgspec.json.Decoder(m.SmsReturn)


class Questions(Protocol):
    async def ask(self, batch: Batch, due: m.ReceiptDue) -> None: ...


class Retries:
    """Sets one timer a retry; its id is made of the request and the attempt, so a re-run replaces it."""

    def __init__(
        self,
        timers: Timers,
        outcomes: Outcomes,
        questions: Questions,
        publish: Callable[[Sequence[Outgoing]], Awaitable[None]],
        topic_name: Callable[[str], str],
    ) -> None:
        self._timers = timers
        self._outcomes = outcomes
        self._questions = questions
        self._publish = publish
        self._topic_name = topic_name

    async def handle(self, batch: Batch) -> None:
        timers: list[Timer] = []
        overdue: list[m.ReceiptDue] = []
        unreadable: list[Outgoing] = []
        for record in batch.records:
            try:
                returned = _decode.decode(record.value or b"")
            except msgspec.MsgspecError as error:
                unreadable.append(self._outcomes.unreadable(record, str(error)))
                continue
            if isinstance(returned, m.SmsRetry):
                lane = self._topic_name(SMS_LANES[returned.request.severity].name)
                timers.append(redelivery_timer(returned, record, lane, kind="sms"))
            else:
                overdue.append(returned)
        await self._publish(unreadable)
        await self._timers.set(batch, timers)
        await asyncio.gather(*(self._questions.ask(batch, due) for due in overdue))
