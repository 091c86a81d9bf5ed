"""`sms-critical`, `sms-warning`, `sms-info` → the provider → `sms-outcomes`, `sms-retries`, `sms-dlq`.

The lanes' batches flow into one waiting room (`domain/notification/lanes.py`): critical first, then round by
organization, each user in order. One loop takes the next message whenever the gate lets one through, and sends side by
side.

Every attempt is in the ledger, and its `sending` outcome at the broker, before the request leaves. So whoever reads a
request again knows whether it was sent, and after a crash in between says `unknown` before anything else.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from domain.notification.decisions import AwaitReceipt, Cancelled, Deferred, after_answer, no_receipt_came
from domain.notification.lanes import Turns
from domain.notification.receipts import Attempt
from domain.notification.request_state import Standing
from domain.notification.sms_text import with_held_back
from schemas import messages as m
from streams.engine.consumer import Stale
from streams.notifications.jobs import Job
from streams.notifications.plans import Conclude, Send, Skip, is_revocable, revocation
from streams.notifications.telnyx.client import Sms, WebhookIds

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence

    from domain.notification.lanes import Turn
    from domain.notification.sms_answers import Answer
    from streams.engine.consumer import Batch
    from streams.engine.publish import Outgoing
    from streams.notifications.decisions import Decisions
    from streams.notifications.ledger import Ledger
    from streams.notifications.outcomes import Outcomes
    from streams.notifications.plans import Closed, Planner, SmsPolicy
    from streams.notifications.rate_limiter import Gate

log = structlog.get_logger(__name__)

_decode = msgspec.json.Decoder(m.SmsRequest).decode

ANSWERS_KEPT = 1_000
BARRIER_AGAIN_MS = 5_000
IDLE_S = 0.1


class Provider(Protocol):
    async def send(self, sms: Sms) -> Answer: ...


class Dispatch:
    """`handle` takes the lanes' batches, side by side; `run` sends what they hold."""

    def __init__(
        self,
        *,
        provider: Provider,
        planner: Planner,
        decisions: Decisions,
        gate: Gate,
        ledger: Ledger,
        outcomes: Outcomes,
        closed: Closed,
        publish: Callable[[Sequence[Outgoing]], Awaitable[None]],
        policy: SmsPolicy,
        now_ms: Callable[[], int],
        rng: random.Random,
    ) -> None:
        self._provider = provider
        self._planner = planner
        self._decisions = decisions
        self._gate = gate
        self._ledger = ledger
        self._outcomes = outcomes
        self._closed = closed
        self._publish = publish
        self._policy = policy
        self._now_ms = now_ms
        self._rng = rng
        self._turns: Turns[Job] = Turns()
        self._batches: set[Batch] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._added = asyncio.Event()
        # Answers that could not be written down, because the partition was read anew meanwhile.
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    def waiting(self) -> dict[m.Severity, int]:
        """Messages that were read and wait for their turn, by lane."""
        return {lane: self._turns.waiting(lane) for lane in m.SEVERITIES}

    async def handle(self, batch: Batch) -> None:
        """Returns when every message of the batch is settled; raises Stale when some were given back untried."""
        jobs: list[Job] = []
        unreadable: list[Outgoing] = []
        for record in batch.records:
            try:
                request = _decode(record.value or b"")
            except msgspec.MsgspecError as error:
                unreadable.append(self._outcomes.unreadable(record, str(error)))
                continue
            jobs.append(Job(batch, record, request))
        await self._publish(unreadable)
        self._batches.add(batch)
        for job in jobs:
            self._turns.add(job, job.request.severity, job.request.organization_id, job.request.user_id)
        self._added.set()
        self._gate.changed()
        try:
            # All are waited for: one that is given up half-way may have been sent all the same.
            await _both(*(job.settled for job in jobs))
        finally:
            self._batches.discard(batch)

    async def run(self) -> None:
        """Send what waits, until it is cancelled."""
        while True:
            self._give_back()
            if not self._turns:
                self._gate.follow()
                await self._wait_for_more()
                continue
            if not await self._gate.opens():
                continue
            turn = self._turns.take()
            if turn is None:
                # All who wait have a message under way.
                await self._wait_for_more()
                continue
            self._start(turn)

    async def _wait_for_more(self) -> None:
        self._added.clear()
        try:
            async with asyncio.timeout(IDLE_S):
                await self._added.wait()
        except TimeoutError:
            return

    def _give_back(self) -> None:
        """What was not tried of partitions that go: the next owner sends it."""
        if not self._turns or all(batch.still_ours() and not batch.must_end() for batch in self._batches):
            return
        for job in list(self._turns.drain()):
            if job.is_wanted:
                self._turns.add(job, job.request.severity, job.request.organization_id, job.request.user_id)
            else:
                job.settle(Stale())

    def _start(self, turn: Turn[Job]) -> None:
        job = turn.item
        # Only what will be sent uses up a place and a moment of the rate.
        paced = isinstance(self._planner.plan(job.batch, job.request, self._now_ms()), Send)
        if paced:
            self._gate.pass_through()
        task = asyncio.create_task(self._serve(turn, paced=paced))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, turn: Turn[Job], *, paced: bool) -> None:
        job = turn.item
        again = False
        error: BaseException | None = None
        try:
            async with self._ledger.lock(job.request.user_id):
                again = await self._act(job, paced=paced)
        except BaseException as raised:  # noqa: BLE001 - whoever handles the batch gets it
            error = raised
        finally:
            if paced:
                self._gate.back()
            self._turns.done(turn.user_id)
            if again:
                self._turns.add(job, turn.lane, turn.organization_id, turn.user_id)
            else:
                job.settle(error)
            self._added.set()

    async def _act(self, job: Job, *, paced: bool) -> bool:
        """Send or conclude one request. True when it must wait for its turn again: it may be sent now after all."""
        batch, request = job.batch, job.request
        if not job.is_wanted:
            raise Stale
        entry = self._ledger.entry(batch, request.request_id).of(request)
        if (
            entry.standing is Standing.SENDING
            and entry.receipt is not None
            and (answer := self._answers.pop(entry.receipt.attempt_id, None)) is not None
        ):
            await self._after(job, entry.attempt, entry.receipt.attempt_id, answer)
            return False
        match self._planner.plan(batch, request, self._now_ms()):
            case Skip():
                return False
            case Conclude(decision, attempt):
                if isinstance(decision, AwaitReceipt) and entry.receipt is not None:
                    await self._publish(self._outcomes.unknown(request, attempt, entry.receipt.attempt_id))
                await self._decisions.carry_out(batch, request, entry, attempt, decision, origin=job.origin)
                return False
            case Send() as send:
                if not paced:
                    return True
                await self._send(job, send)
                return False

    async def _send(self, job: Job, send: Send) -> None:
        batch, request, now_ms = job.batch, job.request, self._now_ms()
        if send.found_sending:
            await self._publish(self._outcomes.unknown(request, send.attempt, send.attempt_id))
        entry = self._ledger.entry(batch, request.request_id).of(request)
        revocable = is_revocable(request, entry)
        sending = msgspec.structs.replace(
            entry,
            standing=Standing.SENDING,
            attempt=send.attempt,
            redrives=request.redrives,
            changed_at_ms=now_ms,
            receipt=Attempt(send.attempt_id, now_ms),
            request=m.encode(request) if self._policy.receipts else b"",
        )
        change = self._ledger.change(batch)
        change.entry(request.request_id, sending)
        if self._policy.window_ms:
            window = self._ledger.window(batch, request.user_id, request.kind)
            change.window(request.user_id, request.kind, window.reserved(request.request_id, now_ms))
        if send.counts_for_cap:
            change.cap(request.organization_id, self._ledger.cap(batch, request.organization_id).left(now_ms))
        await _both(
            self._publish(self._outcomes.sending(request, send.attempt, send.attempt_id)), change.write(durable=True)
        )
        await self._gate.leave()
        if revocable and (hindrance := await self._revoked(request)):
            entry = self._ledger.entry(batch, request.request_id)
            await self._decisions.carry_out(batch, request, entry, request.attempts, hindrance, origin=job.origin)
            return
        if not batch.still_ours():
            raise Stale
        answer = await self._provider.send(
            Sms(
                to_e164=send.phone_e164,
                text=_text(request, send.held_back),
                ids=WebhookIds(user=request.user_id, request=request.request_id, attempt=send.attempt_id),
            )
        )
        self._gate.answered(answer, request.user_id)
        await self._after(job, send.attempt, send.attempt_id, answer)

    async def _revoked(self, request: m.SmsRequest) -> Cancelled | Deferred | None:
        """Asked at the last moment, with all that was published until now: no reminder after an acknowledgement."""
        try:
            await self._closed.up_to_date()
        except TimeoutError:
            until_at_ms = self._now_ms() + BARRIER_AGAIN_MS
            return Deferred(until_at_ms, "barrier", "whether the alert is acknowledged could not be read in time")
        return revocation(self._closed, request, self._now_ms())

    async def _after(self, job: Job, attempt: int, attempt_id: str, answer: Answer) -> None:
        batch, request = job.batch, job.request
        decision = after_answer(
            answer,
            attempt=attempt,
            now_ms=self._now_ms(),
            rng=self._rng,
            receipt_wait_s=self._policy.receipt_wait_ms / 1000 if self._policy.receipts else None,
            provider_down_until_ms=self._gate.way.down_until_ms,
        )
        try:
            if isinstance(decision, AwaitReceipt):
                await self._publish(self._outcomes.unknown(request, attempt, attempt_id))
                if not self._policy.receipts:
                    decision = no_receipt_came(decision, now_ms=self._now_ms())
            entry = self._ledger.entry(batch, request.request_id)
            await self._decisions.carry_out(batch, request, entry, attempt, decision, origin=job.origin, asked=True)
        except Stale:
            # The batch is read again, perhaps here: then the provider need not be asked twice.
            self._answers[attempt_id] = answer
            if len(self._answers) > ANSWERS_KEPT:
                self._answers.popitem(last=False)
            raise


async def _both(*work: Awaitable[None]) -> None:
    """Wait for all, then raise what failed; that a partition is not ours any more is the lesser failure."""
    ends = await asyncio.gather(*work, return_exceptions=True)
    failures = sorted(filter(None, ends), key=lambda failure: isinstance(failure, Stale))
    if failures:
        raise failures[0]


def _text(request: m.SmsRequest, held_back: int) -> str:
    return with_held_back(request.text, held_back) if held_back else request.text
