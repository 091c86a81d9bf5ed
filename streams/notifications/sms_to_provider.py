"""`sms-critical`, `sms-warning`, `sms-info` → the provider → `sms-outcomes`, `sms-retries`, `sms-dlq`.

The waiting room says whose turn it is, the limiter when a message may leave, an attempt asks the provider, and the
conclusion publishes and notes what follows. One loop takes the next message, and messages are sent side by side.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from domain.notification.decisions import Cancelled, Deferred
from schemas.topics import SMS_DLQ
from streams.engine.consumer import Stale
from streams.engine.decoding import decoded
from streams.engine.side_by_side import all_of
from streams.notifications.job import Job
from streams.notifications.plans import Conclude, Send, Skip

if TYPE_CHECKING:
    from domain.notification.answers import Answer
    from domain.notification.lanes import Turn
    from schemas import messages as m
    from schemas.topic import Topic
    from streams.engine.consumer import Batch
    from streams.engine.interfaces import Clock, Publish
    from streams.notifications.attempt import Attempts
    from streams.notifications.conclusion import Conclusion
    from streams.notifications.ledger import Ledger
    from streams.notifications.outcomes import Outcomes
    from streams.notifications.plans import Planner
    from streams.notifications.rate_limiter import RateLimiter
    from streams.notifications.waiting_room import WaitingRoom


class SmsToProvider:
    """`handle` takes the lanes' batches, side by side; `run` sends what they hold."""

    def __init__(
        self,
        *,
        room: WaitingRoom,
        planner: Planner,
        limiter: RateLimiter,
        attempts: Attempts,
        conclusion: Conclusion,
        ledger: Ledger,
        outcomes: Outcomes,
        publish: Publish,
        now_ms: Clock,
    ) -> None:
        self._room = room
        self._planner = planner
        self._limiter = limiter
        self._attempts = attempts
        self._conclusion = conclusion
        self._ledger = ledger
        self._outcomes = outcomes
        self._publish = publish
        self._now_ms = now_ms
        self._tasks: set[asyncio.Task[None]] = set()

    async def handle(self, lane: Topic[m.SmsRequest], batch: Batch) -> None:
        """Returns when every message of the batch is settled; raises Stale if some were given back untried."""
        messages, dead = decoded(batch, lane, SMS_DLQ, self._now_ms())
        await self._publish(dead)
        self._room.enter(batch, jobs := [Job(batch, record, request) for record, request in messages])
        self._limiter.changed()
        try:
            # All are waited for: one that is given up half-way may have been sent all the same.
            await all_of(*(job.settled for job in jobs))
        finally:
            self._room.leave(batch)

    async def run(self) -> None:
        """Send what waits, until it is cancelled."""
        while True:
            self._room.give_back()
            if not self._room:
                self._limiter.follow()
                await self._room.change()
            elif await self._limiter.opens():
                if turn := self._room.next():
                    self._start(turn)
                else:
                    await self._room.change()

    def _start(self, turn: Turn[Job]) -> None:
        job = turn.item
        paced = self._planner.sends(job.batch, job.request, self._now_ms())
        if paced:  # only what will be sent uses up a place and a moment of the rate
            self._limiter.pass_through()
        task = asyncio.create_task(self._serve(turn, paced=paced))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, turn: Turn[Job], *, paced: bool) -> None:
        job, again, error = turn.item, False, None
        try:
            async with self._ledger.lock(job.request.user_id):
                again = await self._act(job, paced=paced)
        except BaseException as raised:  # noqa: BLE001 - whoever handles the batch gets it
            error = raised
        finally:
            if paced:
                self._limiter.back()
            if again:
                self._room.again(turn)
            else:
                self._room.done(turn)
                job.settle(error)

    async def _act(self, job: Job, *, paced: bool) -> bool:
        """Send or conclude one request. True when it must wait for its turn again: it may be sent now after all."""
        batch, request = job.batch, job.request
        if not job.is_wanted:
            raise Stale
        entry = self._ledger.entry(batch, request.request_id).of(request)
        if entry.receipt is not None and (answer := self._attempts.answer_kept(entry)) is not None:
            await self._after(job, entry.attempt, entry.receipt.attempt_id, answer)
            return False
        match self._planner.plan(batch, request, self._now_ms()):
            case Skip():
                return False
            case Conclude(decision, attempt):
                if entry.found_sending and entry.receipt is not None:
                    await self._publish(self._outcomes.unknown(request, entry.attempt, entry.receipt.attempt_id))
                await self._conclusion.carry_out(batch, request, entry, attempt, decision, origin=job.origin)
                return False
            case Send() as send:
                if not paced:
                    return True
                made = await self._attempts.make(job, send)
                if isinstance(made, Cancelled | Deferred):
                    entry = self._ledger.entry(batch, request.request_id)
                    await self._conclusion.carry_out(batch, request, entry, request.attempts, made, origin=job.origin)
                else:
                    await self._after(job, send.attempt, send.attempt_id, made)
                return False

    async def _after(self, job: Job, attempt: int, attempt_id: str, answer: Answer) -> None:
        try:
            decision = await self._attempts.decide(job, attempt, attempt_id, answer)
            entry = self._ledger.entry(job.batch, job.request.request_id)
            await self._conclusion.carry_out(
                job.batch, job.request, entry, attempt, decision, origin=job.origin, asked=True
            )
        except Stale:
            self._attempts.keep_answer(attempt_id, answer)
            raise
