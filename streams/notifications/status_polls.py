"""No final receipt came in time: the provider is asked; after three status polls the delivery stays unknown.

The next poll's timer is set before the provider is asked, so a poll may run beside everything else: whatever becomes of
it, it is not the last time that somebody looks. Neither retries nor the user's other messages wait for its answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import structlog

from domain.notification import receipts
from domain.notification.answers import Refused, Unanswered
from streams.engine.consumer import Stale
from streams.notifications.conclusion import decode_request

if TYPE_CHECKING:
    from schemas import messages as m
    from streams.engine.consumer import Batch
    from streams.engine.interfaces import Clock, Publish
    from streams.notifications.conclusion import Conclusion
    from streams.notifications.deliveries import Deliveries
    from streams.notifications.ledger import Entry, Ledger
    from streams.notifications.outcomes import Outcomes
    from streams.notifications.provider import Provider
    from streams.notifications.sms_policy import SmsPolicy

log = structlog.get_logger(__name__)


class StatusPolls:
    """`take` says what is due; `settled` returns when no poll is under way."""

    def __init__(
        self,
        *,
        provider: Provider,
        publish: Publish,
        outcomes: Outcomes,
        ledger: Ledger,
        conclusion: Conclusion,
        deliveries: Deliveries,
        policy: SmsPolicy,
        now_ms: Clock,
        at_once: int,
    ) -> None:
        self._provider = provider
        self._publish = publish
        self._outcomes = outcomes
        self._ledger = ledger
        self._conclusion = conclusion
        self._deliveries = deliveries
        self._policy = policy
        self._now_ms = now_ms
        self._places = asyncio.Semaphore(at_once)
        self._polls: set[asyncio.Task[None]] = set()

    async def take(self, batch: Batch, due: m.ReceiptDue) -> None:
        async with self._ledger.lock(due.user_id):
            entry = self._entry(batch, due)
            if entry is None or entry.receipt is None:
                return
            request = decode_request(entry.request)
            attempt, effect = receipts.waited(entry.receipt, self._now_ms(), self._policy.waits)
            entry = msgspec.structs.replace(entry, receipt=attempt, changed_at_ms=self._now_ms())
            match effect:
                case receipts.StaysUnknown():
                    await self._publish(self._outcomes.unconfirmed(request, entry.attempt, attempt.provider_message_id))
                    await self._deliveries.write(batch, request, entry)
                case receipts.PollStatus():
                    await self._conclusion.watch(batch, request, attempt)
                    await self._deliveries.write(batch, request, entry)
                    poll = asyncio.create_task(self._poll(batch, due, attempt.provider_message_id))
                    self._polls.add(poll)
                    poll.add_done_callback(self._polls.discard)

    async def settled(self) -> None:
        while self._polls:
            await asyncio.wait(self._polls)

    async def _poll(self, batch: Batch, due: m.ReceiptDue, provider_message_id: str) -> None:
        async with self._places:
            answer = await self._provider.status(provider_message_id)
        if isinstance(answer, Refused | Unanswered):
            log.warning("receipt.poll_failed", request=due.request_id, answer=str(answer))
            return
        self._deliveries.seen[f"polled_{answer.status}"] += 1
        if not receipts.knows(answer.status):
            return
        try:
            async with self._ledger.lock(due.user_id):
                if (entry := self._entry(batch, due)) is not None:
                    error = answer.error or self._provider.delivery_failed(None)
                    await self._deliveries.apply(
                        batch, entry, answer.status, provider_message_id, error, self._now_ms()
                    )
        except Stale:
            # The next owner polls when its timer is due.
            return

    def _entry(self, batch: Batch, due: m.ReceiptDue) -> Entry | None:
        """The request that is due, unless it is settled or has made another attempt meanwhile."""
        entry = self._ledger.entry(batch, due.request_id)
        if entry.receipt is None or entry.receipt.attempt_id != due.attempt_id or not entry.request:
            return None
        return entry
