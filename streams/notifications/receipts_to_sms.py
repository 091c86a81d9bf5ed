"""`sms-receipts` → what became of an SMS that the provider accepted, and what people answer.

A receipt moves the ledger's entry as `domain/notification/receipts.py` says. What failed after all is tried again or
given up like any failed attempt, and the alert's escalation hears of both good and bad news. When no final receipt
comes, a timer asks the provider.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from domain.notification import receipts
from domain.notification.decisions import Dead, DeadReason, PauseLane, RetryAt, after_failed_delivery
from domain.notification.replies import Acknowledged, acknowledged, understand
from domain.notification.request_state import Standing
from domain.notification.retry import THROTTLED_S
from domain.notification.sms_answers import Refused, Unanswered
from schemas import messages as m
from streams.notifications.decisions import watch_id

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence

    from domain.notification.decisions import Decision
    from streams.engine.consumer import Batch
    from streams.engine.interfaces import Slot
    from streams.engine.publish import Outgoing
    from streams.engine.timers import Timers
    from streams.notifications.decisions import Decisions
    from streams.notifications.ledger import Entry, Ledger
    from streams.notifications.outcomes import Outcomes
    from streams.notifications.plans import Closed, SmsPolicy
    from streams.notifications.telnyx.client import ProviderStatus

log = structlog.get_logger(__name__)

_decode: msgspec.json.Decoder[m.Receipt] = msgspec.json.Decoder(m.Receipt)
_decode_request = msgspec.json.Decoder(m.SmsRequest).decode


class Provider(Protocol):
    async def status(self, provider_message_id: str) -> ProviderStatus | Refused | Unanswered: ...


class Receipts:
    """`handle` takes what the provider reports, `ask` the requests of which it reported nothing in time."""

    def __init__(
        self,
        *,
        provider: Provider,
        publish: Callable[[Sequence[Outgoing]], Awaitable[None]],
        outcomes: Outcomes,
        ledger: Ledger,
        decisions: Decisions,
        timers: Timers,
        closed: Closed,
        policy: SmsPolicy,
        now_ms: Callable[[], int],
        rng: random.Random,
        questions_at_once: int,
    ) -> None:
        self._provider = provider
        self._publish = publish
        self._outcomes = outcomes
        self._ledger = ledger
        self._decisions = decisions
        self._timers = timers
        self._closed = closed
        self._policy = policy
        self._now_ms = now_ms
        self._rng = rng
        self._questions = asyncio.Semaphore(questions_at_once)
        self.seen: Counter[str] = Counter()

    async def handle(self, batch: Batch) -> None:
        by_user: defaultdict[str, list[m.Receipt]] = defaultdict(list)
        unreadable: list[Outgoing] = []
        for record in batch.records:
            try:
                receipt = _decode.decode(record.value or b"")
            except msgspec.MsgspecError as error:
                unreadable.append(self._outcomes.unreadable(record, str(error)))
                continue
            by_user[receipt.user_id].append(receipt)
        await self._publish(unreadable)
        await asyncio.gather(*(self._of_user(batch, user_id, news) for user_id, news in by_user.items()))

    async def _of_user(self, batch: Batch, user_id: str, news: Sequence[m.Receipt]) -> None:
        for receipt in news:
            # While a message of this user is under way, its receipt waits for the provider's answer.
            async with self._ledger.lock(user_id):
                match receipt:
                    case m.DeliveryReceipt():
                        await self._delivery(batch, receipt)
                    case m.InboundReply():
                        await self._reply(batch, receipt)

    async def _delivery(self, batch: Batch, receipt: m.DeliveryReceipt) -> None:
        if not receipts.knows(receipt.status):
            self.seen["unknown_status"] += 1
            log.warning("receipt.unknown_status", status=receipt.status, request=receipt.request_id)
            return
        entry = self._ledger.entry(batch, receipt.request_id)
        if entry.receipt is None or entry.receipt.attempt_id != receipt.attempt_id or not entry.request:
            # Of an earlier attempt, or of a request that is settled: nothing follows from it any more.
            self.seen["of_no_consequence"] += 1
            return
        self.seen[receipt.status] += 1
        await self._apply(
            batch, entry, receipt.status, receipt.provider_message_id, receipt.error_code or "", receipt.occurred_at_ms
        )

    async def _apply(
        self, slot: Slot, entry: Entry, status: str, provider_message_id: str, error_code: str, at_ms: int
    ) -> None:
        assert entry.receipt is not None
        request = _decode_request(entry.request)
        attempt, effect = receipts.reported(entry.receipt, status, provider_message_id, error_code)
        if attempt == entry.receipt:
            return
        if entry.standing in (Standing.SENDING, Standing.WAITING) and attempt.standing in receipts.ARRIVED:
            # It had no answer, and arrived all the same.
            entry = await self._arrived(slot, request, entry, provider_message_id, at_ms)
        moved = msgspec.structs.replace(entry, receipt=attempt, changed_at_ms=self._now_ms())
        match effect:
            case receipts.Delivered():
                await self._publish(self._outcomes.delivered(request, entry.attempt, attempt.provider_message_id))
                await self._finish(slot, request, moved)
            case receipts.StaysUnknown():
                await self._publish(self._outcomes.unconfirmed(request, entry.attempt, attempt.provider_message_id))
                await self._finish(slot, request, moved)
            case receipts.DeliveryFailed(code):
                await self._failed(slot, request, moved, code)
            case _:
                await self._write(slot, request, moved)

    async def _arrived(
        self, slot: Slot, request: m.SmsRequest, entry: Entry, provider_message_id: str, at_ms: int
    ) -> Entry:
        """Write down as accepted and no more: what else the receipt says follows when this is run again."""
        assert entry.receipt is not None
        await self._publish(self._outcomes.sent(request, entry.attempt, provider_message_id, parts=1))
        receipt = receipts.accepted(entry.receipt, provider_message_id)
        await self._decisions.watch(slot, request, receipt)
        sent = msgspec.structs.replace(entry, standing=Standing.SENT, receipt=receipt)
        change = self._ledger.change(slot)
        change.entry(request.request_id, sent)
        window = self._ledger.window(slot, request.user_id, request.kind)
        change.window(request.user_id, request.kind, window.sent(request.request_id, min(at_ms, self._now_ms())))
        change.told(request, self._now_ms())
        await change.write()
        return self._ledger.entry(slot, request.request_id)

    async def _failed(self, slot: Slot, request: m.SmsRequest, entry: Entry, code: str) -> None:
        """An accepted SMS will not come: the escalation does not wait, and it is tried again where that can help."""
        now_ms = self._now_ms()
        decision: Decision = after_failed_delivery(code, attempt=entry.attempt, now_ms=now_ms, rng=self._rng)
        if isinstance(decision, PauseLane):
            # Nothing in our set-up kept it from being accepted, so the lane goes on.
            again = entry.attempt < self._policy.attempts
            due_at_ms = now_ms + round(THROTTLED_S * 1000)
            decision = (
                RetryAt(due_at_ms, decision.error_code, decision.error)
                if again
                else Dead(DeadReason.EXHAUSTED, decision.error_code, decision.error, ops_told=True)
            )
        if isinstance(decision, RetryAt):
            await self._publish([self._outcomes.missed(request, entry.attempt, code or "delivery_failed")])
        await self._timers.cancel(slot, [watch_id(request.request_id)])
        change = self._ledger.change(slot)
        window = self._ledger.window(slot, request.user_id, request.kind)
        change.window(request.user_id, request.kind, window.not_delivered(request.request_id))
        await change.write()
        base = msgspec.structs.replace(request, attempts=entry.attempt - 1)
        await self._decisions.carry_out(slot, base, entry, entry.attempt, decision, asked=True)

    async def _finish(self, slot: Slot, request: m.SmsRequest, entry: Entry) -> None:
        await self._timers.cancel(slot, [watch_id(request.request_id)])
        assert entry.receipt is not None
        # What stays unconfirmed may yet be reported; what is delivered stays so.
        done = entry.receipt.standing is receipts.Standing.DELIVERED
        await self._write(slot, request, msgspec.structs.replace(entry, request=b"") if done else entry)

    async def _write(self, slot: Slot, request: m.SmsRequest, entry: Entry) -> None:
        change = self._ledger.change(slot)
        change.entry(request.request_id, entry)
        await change.write()

    async def _reply(self, batch: Batch, reply: m.InboundReply) -> None:
        """An acknowledgement; the opt-out words are the api's, which keeps the list."""
        meaning = understand(reply.text)
        self.seen[type(meaning).__name__] += 1
        if not isinstance(meaning, Acknowledged):
            return
        now_ms = self._now_ms()
        told = {
            alert.alert_id: alert
            for alert in self._ledger.told(batch, reply.user_id, now_ms)
            if self._closed.why_closed(alert.alert_id, now_ms) in (None, "silenced")
        }
        meant = acknowledged(meaning, reply.user_id, told)
        if not meant:
            log.warning("reply.matches_no_alert", user=reply.user_id, code=meaning.code, open=len(told))
            return
        await self._publish(
            [self._outcomes.acknowledged(told[alert_id], reply.user_id, reply.event_id, now_ms) for alert_id in meant]
        )
        log.info("reply.acknowledged", user=reply.user_id, alerts=list(meant))

    async def ask(self, batch: Batch, due: m.ReceiptDue) -> None:
        """No final receipt came in time: ask the provider; after three questions it stays unknown."""
        async with self._questions, self._ledger.lock(due.user_id):
            entry = self._ledger.entry(batch, due.request_id)
            if entry.receipt is None or entry.receipt.attempt_id != due.attempt_id or not entry.request:
                return
            request = _decode_request(entry.request)
            attempt, effect = receipts.waited(entry.receipt, self._now_ms(), self._decisions.waits)
            entry = msgspec.structs.replace(entry, receipt=attempt, changed_at_ms=self._now_ms())
            match effect:
                case receipts.StaysUnknown():
                    outgoing = self._outcomes.unconfirmed(request, entry.attempt, attempt.provider_message_id)
                    await self._publish(outgoing)
                    await self._write(batch, request, entry)
                case receipts.AskProvider():
                    await self._ask(batch, request, entry)
                case _:
                    return

    async def _ask(self, batch: Batch, request: m.SmsRequest, entry: Entry) -> None:
        assert entry.receipt is not None
        # Set before the question: whatever becomes of it, this is not the last time that somebody looks.
        await self._decisions.watch(batch, request, entry.receipt)
        await self._write(batch, request, entry)
        answer = await self._provider.status(entry.receipt.provider_message_id)
        if isinstance(answer, Refused | Unanswered):
            log.warning("receipt.question_failed", request=request.request_id, answer=str(answer))
            return
        self.seen[f"asked_{answer.status}"] += 1
        if receipts.knows(answer.status):
            entry = self._ledger.entry(batch, request.request_id)
            message_id = entry.receipt.provider_message_id if entry.receipt else ""
            await self._apply(batch, entry, answer.status, message_id, answer.error_code or "", self._now_ms())
