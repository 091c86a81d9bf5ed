"""`sms-retries` → a durable timer → back to the request's lane when it is due; overdue receipts → a status poll.

A critical page that is still not accepted when its own timer fires goes by e-mail too.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, assert_never

from schemas import messages as m
from schemas.topics import SMS_DLQ, SMS_LANES, SMS_RETRIES
from streams.engine.decoding import decoded
from streams.engine.redelivery import redelivery_timer
from streams.engine.timers import Timer
from streams.notifications.conclusion import watch_id
from streams.notifications.second_way import page_email_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.engine.consumer import Batch, Record
    from streams.engine.interfaces import Clock, Publish
    from streams.engine.timers import Timers


LOOK_AGAIN_MS = 1_000


class Polls(Protocol):
    async def take(self, batch: Batch, due: m.ReceiptDue) -> None: ...


class Overdue(Protocol):
    async def overdue(self, slot: Batch, overdue: m.PageOverdue) -> None: ...


class Retries:
    """Sets one timer a retry; its id is made of the request and the attempt, so a re-run replaces it.

    `busy` says whether somebody decides about a user's messages just now, which may take as long as the provider: what
    is overdue for that user comes again, so that retries behind it need not wait.
    """

    def __init__(
        self,
        timers: Timers,
        polls: Polls,
        second_way: Overdue,
        busy: Callable[[str], bool],
        publish: Publish,
        now_ms: Clock,
    ) -> None:
        self._timers = timers
        self._polls = polls
        self._second_way = second_way
        self._busy = busy
        self._publish = publish
        self._now_ms = now_ms

    async def handle(self, batch: Batch) -> None:
        messages, dead = decoded(batch, SMS_RETRIES, SMS_DLQ, self._now_ms())
        await self._publish(dead)
        timers: list[Timer] = []
        now_ms = self._now_ms()
        overdue: list[m.ReceiptDue] = []
        pages: list[m.PageOverdue] = []
        for record, returned in messages:
            match returned:
                case m.SmsRetry():
                    lane = SMS_LANES[returned.request.severity]
                    timers.append(redelivery_timer(returned, record, lane, kind="sms"))
                case m.ReceiptDue() if self._busy(returned.user_id):
                    timers.append(_look_again(record, watch_id(returned.request_id), returned.user_id, now_ms))
                case m.ReceiptDue():
                    overdue.append(returned)
                case m.PageOverdue(request=request) if self._busy(request.user_id):
                    timers.append(_look_again(record, page_email_id(request.request_id), request.user_id, now_ms))
                case m.PageOverdue():
                    pages.append(returned)
                case _:
                    assert_never(returned)
        await self._timers.set(batch, timers)
        polled = (self._polls.take(batch, due) for due in overdue)
        await asyncio.gather(*polled, *(self._second_way.overdue(batch, page) for page in pages))


def _look_again(record: Record, timer_id: str, user_id: str, now_ms: int) -> Timer:
    return Timer(
        timer_id=timer_id,
        due_at_ms=now_ms + LOOK_AGAIN_MS,
        topic=SMS_RETRIES,
        key=user_id.encode(),
        value=record.value or b"",
        headers=tuple(record.headers),
    )
