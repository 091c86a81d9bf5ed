"""What a receipt or a status poll changes: the ledger's entry moves as `domain/notification/receipts.py` says.

What failed after all is tried again or given up like any failed attempt, and the alert's escalation learns of both
good and bad news.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import structlog

from domain.notification import receipts
from domain.notification.decisions import Dead, DeadReason, Decision, Paused, RetryAt
from domain.notification.request_state import RequestState
from domain.notification.retry import THROTTLED_S
from domain.notification.retry_decision import after_refusal
from streams.notifications.conclusion import decode_request, watch_id
from streams.notifications.windows import counts_for_window

if TYPE_CHECKING:
    import random

    from domain.notification.answers import Refused
    from schemas import messages as m
    from streams.engine.interfaces import Clock, Publish, Slot
    from streams.engine.timers import Timers
    from streams.notifications.conclusion import Conclusion
    from streams.notifications.ledger import Entry, Ledger
    from streams.notifications.outcomes import Outcomes
    from streams.notifications.provider import Provider
    from streams.notifications.sms_policy import SmsPolicy

log = structlog.get_logger(__name__)


class Deliveries:
    """The caller holds the lock of the request's user. `seen` counts receipts by what they say."""

    def __init__(
        self,
        *,
        provider: Provider,
        publish: Publish,
        outcomes: Outcomes,
        ledger: Ledger,
        conclusion: Conclusion,
        timers: Timers,
        policy: SmsPolicy,
        now_ms: Clock,
        rng: random.Random,
    ) -> None:
        self._provider = provider
        self._publish = publish
        self._outcomes = outcomes
        self._ledger = ledger
        self._conclusion = conclusion
        self._timers = timers
        self._policy = policy
        self._now_ms = now_ms
        self._rng = rng
        self.seen: Counter[str] = Counter()

    async def take(self, slot: Slot, receipt: m.DeliveryReceipt) -> None:
        if not receipts.knows(receipt.status):
            self.seen["unknown_status"] += 1
            log.warning("receipt.unknown_status", status=receipt.status, request=receipt.request_id)
            return
        entry = self._ledger.entry(slot, receipt.request_id)
        if entry.receipt is None or entry.receipt.attempt_id != receipt.attempt_id or not entry.request:
            # Of an earlier attempt, or of a request that is settled: nothing follows from it any more.
            self.seen["of_no_consequence"] += 1
            return
        self.seen[receipt.status] += 1
        error = self._provider.delivery_failed(receipt.error_code)
        await self.apply(slot, entry, receipt.status, receipt.provider_message_id, error, receipt.occurred_at_ms)

    async def apply(
        self, slot: Slot, entry: Entry, status: str, provider_message_id: str, error: Refused, at_ms: int
    ) -> None:
        """`error` counts if `status` says that delivery failed."""
        assert entry.receipt is not None
        request = decode_request(entry.request)
        attempt, effect = receipts.reported(entry.receipt, status, provider_message_id, error.code)
        if attempt == entry.receipt:
            return
        if entry.state in (RequestState.SENDING, RequestState.WAITING) and attempt.state in receipts.ARRIVED:
            # It had no answer, and arrived all the same.
            entry = await self._arrived(slot, request, entry, provider_message_id, at_ms)
        moved = msgspec.structs.replace(entry, receipt=attempt, changed_at_ms=self._now_ms())
        match effect:
            case receipts.Delivered():
                for named in (request, *map(decode_request, entry.carried)):
                    await self._publish(self._outcomes.delivered(named, entry.attempt, attempt.provider_message_id))
                await self._finish(slot, request, moved)
            case receipts.StaysUnknown():
                for named in (request, *map(decode_request, entry.carried)):
                    await self._publish(self._outcomes.unconfirmed(named, entry.attempt, attempt.provider_message_id))
                await self._finish(slot, request, moved)
            case receipts.DeliveryFailed():
                await self._failed(slot, request, moved, error)
            case _:
                await self.write(slot, request, moved)

    async def write(self, slot: Slot, request: m.SmsRequest, entry: Entry) -> None:
        change = self._ledger.change(slot)
        change.entry(request.request_id, entry)
        await change.write()

    async def _arrived(
        self, slot: Slot, request: m.SmsRequest, entry: Entry, provider_message_id: str, at_ms: int
    ) -> Entry:
        """Record only that it was accepted: what else the receipt says follows when this is run again."""
        assert entry.receipt is not None
        await self._publish(self._outcomes.sent(request, entry.attempt, provider_message_id, parts=1))
        receipt = receipts.accepted(entry.receipt, provider_message_id)
        await self._conclusion.watch(slot, request, receipt)
        sent = msgspec.structs.replace(entry, state=RequestState.SENT, receipt=receipt)
        change = self._ledger.change(slot)
        change.entry(request.request_id, sent)
        if counts_for_window(request):
            window = self._ledger.window(slot, request)
            sent_at_ms = min(at_ms, self._now_ms())
            change.window(request, window.sent(request.request_id, sent_at_ms, self._policy.window_ms))
        change.notified(request, self._now_ms())
        await change.write()
        return self._ledger.entry(slot, request.request_id)

    async def _failed(self, slot: Slot, request: m.SmsRequest, entry: Entry, error: Refused) -> None:
        """An accepted SMS will not come: the escalation does not wait, and it is tried again where that can help."""
        now_ms, policy = self._now_ms(), self._policy.retry
        decision: Decision = after_refusal(error, attempt=entry.attempt, now_ms=now_ms, rng=self._rng, policy=policy)
        if isinstance(decision, Paused):
            # Nothing in our set-up kept it from being accepted, so the lane goes on.
            decision = (
                RetryAt(now_ms + round(THROTTLED_S * 1000), decision.error_code, decision.error)
                if policy.allows_another(entry.attempt)
                else Dead(DeadReason.EXHAUSTED, decision.error_code, decision.error, notify_ops=True)
            )
        missed = [request] if isinstance(decision, RetryAt) else []
        missed += map(decode_request, entry.carried)
        await self._publish([self._outcomes.undelivered(one, entry.attempt, error.code) for one in missed])
        await self._timers.cancel(slot, [watch_id(request.request_id)])
        change = self._ledger.change(slot)
        change.window(request, self._ledger.window(slot, request).not_delivered(request.request_id))
        await change.write()
        base = msgspec.structs.replace(request, attempts=entry.attempt - 1)
        await self._conclusion.carry_out(slot, base, entry, entry.attempt, decision, asked=True)

    async def _finish(self, slot: Slot, request: m.SmsRequest, entry: Entry) -> None:
        await self._timers.cancel(slot, [watch_id(request.request_id)])
        assert entry.receipt is not None
        # What stays unconfirmed may yet be reported; what is delivered stays so.
        done = entry.receipt.state is receipts.ReceiptState.DELIVERED
        await self.write(slot, request, msgspec.structs.replace(entry, request=b"") if done else entry)
