"""`sms-receipts` → what became of an SMS that the provider accepted (`deliveries.py`), and replies (`replies.py`)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, assert_never

from schemas import messages as m
from schemas.topics import SMS_DLQ, SMS_RECEIPTS
from streams.engine.decoding import decoded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.engine.consumer import Batch
    from streams.engine.interfaces import Clock, Publish
    from streams.notifications.deliveries import Deliveries
    from streams.notifications.ledger import Ledger
    from streams.notifications.replies import Replies


class Receipts:
    """Takes what the provider reports, each user's news in order."""

    def __init__(
        self, *, deliveries: Deliveries, replies: Replies, ledger: Ledger, publish: Publish, now_ms: Clock
    ) -> None:
        self._deliveries = deliveries
        self._replies = replies
        self._ledger = ledger
        self._publish = publish
        self._now_ms = now_ms

    async def handle(self, batch: Batch) -> None:
        messages, dead = decoded(batch, SMS_RECEIPTS, SMS_DLQ, self._now_ms())
        await self._publish(dead)
        by_user: defaultdict[str, list[m.Receipt]] = defaultdict(list)
        for _, receipt in messages:
            by_user[receipt.user_id].append(receipt)
        await asyncio.gather(*(self._of_user(batch, user_id, news) for user_id, news in by_user.items()))

    async def _of_user(self, batch: Batch, user_id: str, news: Sequence[m.Receipt]) -> None:
        for receipt in news:
            # While a message of this user is under way, its receipt waits for the provider's answer.
            async with self._ledger.lock(user_id):
                match receipt:
                    case m.DeliveryReceipt():
                        await self._deliveries.take(batch, receipt)
                    case m.InboundReply():
                        await self._replies.take(batch, receipt)
                    case _:
                        assert_never(receipt)
