"""`email-requests` → the provider → `email-outcomes`, `email-retries`, `email-dlq`.

Every attempt is in the ledger, and its `email_sending` outcome at the broker, before the mail leaves. So whoever reads
a request again knows whether it was sent, and after a crash in between says `email_unknown`. It then sends the mail
once more, whatever the provider: none of the four can be asked about a mail by our own id, but all of them pass on the
Message-ID, which is made of the digest's id and is the same in every attempt, so mailboxes know the copy as one.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from domain.notification.answers import Unanswered
from domain.notification.decisions import Dead, DeadReason
from domain.notification.request_state import RequestState
from domain.notification.retry_decision import after_answer
from schemas.topics import EMAIL_DLQ, EMAIL_REQUESTS
from streams.digests.report.rendered_digest import Mail
from streams.engine.consumer import Stale
from streams.engine.decoding import decoded
from streams.engine.side_by_side import all_of

if TYPE_CHECKING:
    import random

    from domain.notification.retry import RetryPolicy
    from schemas import messages as m
    from streams.digests.mail.conclusion import Conclusion
    from streams.digests.mail.copies import Copies
    from streams.digests.mail.ledger import Entry, Ledger
    from streams.digests.mail.pause import Pause
    from streams.digests.mail.provider import Provider
    from streams.digests.mail.records import EmailRecords
    from streams.engine.consumer import Batch, Record
    from streams.engine.interfaces import Clock, Publish


class Mailing:
    """Sends at most `concurrency` mails at a time, each user's in order; holds all of them while the breaker is open.

    A mail that the provider has not taken within `deadline_ms` is given up.
    """

    def __init__(
        self,
        *,
        provider: Provider,
        pause: Pause,
        copies: Copies,
        conclusion: Conclusion,
        ledger: Ledger,
        records: EmailRecords,
        publish: Publish,
        policy: RetryPolicy,
        deadline_ms: int,
        concurrency: int,
        now_ms: Clock,
        rng: random.Random,
    ) -> None:
        self._provider = provider
        self._copies = copies
        self._conclusion = conclusion
        self._ledger = ledger
        self._records = records
        self._publish = publish
        self._policy = policy
        self._deadline_ms = deadline_ms
        self._places = asyncio.Semaphore(concurrency)
        self._now_ms = now_ms
        self._rng = rng
        self._pause = pause
        self.active = 0

    @property
    def decided(self) -> Counter[str]:
        """Decisions about mails, by their names."""
        return self._conclusion.decided

    async def handle(self, batch: Batch) -> None:
        messages, dead = decoded(batch, EMAIL_REQUESTS, EMAIL_DLQ, self._now_ms())
        await self._publish(dead)
        by_user: defaultdict[str, list[tuple[Record, m.EmailRequest]]] = defaultdict(list)
        for record, request in messages:
            by_user[request.user_id].append((record, request))
        # Each finishes what it has begun: a mail that is cancelled half-way may have been sent all the same.
        await all_of(*(self._in_order(batch, requests) for requests in by_user.values()))

    async def _in_order(self, batch: Batch, requests: list[tuple[Record, m.EmailRequest]]) -> None:
        for record, request in requests:
            async with self._places:
                if batch.must_end():
                    # What was not tried goes back, and is sent by the next owner.
                    raise Stale
                self.active += 1
                try:
                    await self._deliver(batch, request, record)
                finally:
                    self.active -= 1

    async def _deliver(self, batch: Batch, request: m.EmailRequest, record: Record) -> None:
        entry = self._ledger.read(batch, request.request_id)
        if not entry.may_try(request):
            return
        mail = self._expired(request, entry) or await self._copies.make(request)
        if isinstance(mail, Mail):
            await self._pause.permitted(batch)
            mail = self._expired(request, entry) or mail
        if not isinstance(mail, Mail):
            await self._conclusion.carry_out(batch, request, record, entry, request.attempts, mail)
            return
        attempt = request.attempts + 1
        if entry.state is RequestState.SENDING and entry.redrives == request.redrives:
            # Somebody died between handing the mail over and writing the answer down.
            await self._publish(self._records.unknown(request, attempt, mail.message_id))
        entry = entry.moved(RequestState.SENDING, attempt, request.redrives, self._now_ms())
        await asyncio.gather(
            self._publish(self._records.sending(request, attempt)),
            self._ledger.write(batch, request.request_id, entry, durable=True),
        )
        if not batch.still_ours():
            raise Stale
        answer = await self._provider.send(mail)
        self._pause.answered(answer)
        if isinstance(answer, Unanswered) and answer.may_have_arrived:
            await self._publish(self._records.unknown(request, attempt, mail.message_id))
        decision = after_answer(
            answer,
            attempt=attempt,
            provider_failures=request.provider_failures,
            now_ms=self._now_ms(),
            rng=self._rng,
            policy=self._policy,
            # A mail that had no answer is sent again: its Message-ID is the same.
            receipt_wait_ms=None,
            open_until_ms=self._pause.open_until_ms,
        )
        await self._conclusion.carry_out(batch, request, record, entry, attempt, decision, mail.message_id, asked=True)

    def _expired(self, request: m.EmailRequest, entry: Entry) -> Dead | None:
        # A person's redrive has all the time again.
        begun_at_ms = request.requested_at_ms if request.redrives == 0 else entry.begun_of(request, self._now_ms())
        late_ms = self._now_ms() - begun_at_ms
        if late_ms < self._deadline_ms:
            return None
        error = f"the provider did not take it within {late_ms // 1000} s"
        return Dead(DeadReason.EXPIRED, "expired", error, notify_ops=True)
