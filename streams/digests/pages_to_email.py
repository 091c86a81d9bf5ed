"""`page-emails` → the mail provider → `email-outcomes`: pages that no SMS provider took, each to one person.

A page needs no database and no rendered digest. It goes through the same provider and the same circuit breaker as
digests, but does not wait behind them: its topic has a flow of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.notification.decisions import Dead, DeadReason
from domain.notification.request_state import RequestState
from domain.notification.retry_decision import after_answer
from schemas.topics import EMAIL_DLQ, PAGE_EMAILS
from streams.digests.mail.page_mail import page_mail
from streams.digests.report.rendered_digest import Mail
from streams.engine.consumer import Stale
from streams.engine.decoding import decoded
from streams.engine.side_by_side import all_of

if TYPE_CHECKING:
    import random

    from domain.notification.retry import RetryPolicy
    from schemas import messages as m
    from streams.digests.mail.ledger import Ledger
    from streams.digests.mail.page_conclusion import PageConclusion
    from streams.digests.mail.pause import Pause
    from streams.digests.mail.provider import Provider
    from streams.digests.report.rendered_digest import Mailbox
    from streams.engine.consumer import Batch
    from streams.engine.interfaces import Clock, Entries, Publish


class PagesToEmail:
    """A page that the provider has not taken within `deadline_ms` is given up."""

    def __init__(
        self,
        *,
        provider: Provider,
        pause: Pause,
        contacts: Entries[m.Contact],
        sender: Mailbox,
        ledger: Ledger,
        conclusion: PageConclusion,
        publish: Publish,
        policy: RetryPolicy,
        deadline_ms: int,
        now_ms: Clock,
        rng: random.Random,
    ) -> None:
        self._provider = provider
        self._pause = pause
        self._contacts = contacts
        self._sender = sender
        self._ledger = ledger
        self._conclusion = conclusion
        self._publish = publish
        self._policy = policy
        self._deadline_ms = deadline_ms
        self._now_ms = now_ms
        self._rng = rng

    async def handle(self, batch: Batch) -> None:
        messages, dead = decoded(batch, PAGE_EMAILS, EMAIL_DLQ, self._now_ms())
        await self._publish(dead)
        # The same page may be in a batch twice: the second record then finds what became of the first.
        one_each = {page.request_id: page for _, page in reversed(messages)}
        # Each finishes what it has begun: a mail that is cancelled half-way may have been sent all the same.
        await all_of(*(self._deliver(batch, page) for page in one_each.values()))

    async def _deliver(self, batch: Batch, page: m.PageEmail) -> None:
        entry = self._ledger.read(batch, page.request_id)
        if not entry.may_try(page):
            return
        mail = self._expired(page) or page_mail(page, self._contacts.get(page.user_id), self._sender)
        if isinstance(mail, Mail):
            await self._pause.permitted(batch)
            mail = self._expired(page) or mail
        if isinstance(mail, Dead):
            await self._conclusion.carry_out(batch, page, page.attempts, mail)
            return
        attempt = page.attempts + 1
        sending = entry.moved(RequestState.SENDING, attempt, 0, self._now_ms())
        await self._ledger.write(batch, page.request_id, sending, durable=True)
        if not batch.still_ours():
            raise Stale
        answer = await self._provider.send(mail)
        self._pause.answered(answer)
        decision = after_answer(
            answer,
            attempt=attempt,
            provider_failures=page.provider_failures,
            now_ms=self._now_ms(),
            rng=self._rng,
            policy=self._policy,
            # One that had no answer is sent again: its Message-ID is the same.
            receipt_wait_ms=None,
            open_until_ms=self._pause.open_until_ms,
        )
        await self._conclusion.carry_out(batch, page, attempt, decision, mail.message_id)

    def _expired(self, page: m.PageEmail) -> Dead | None:
        late_ms = self._now_ms() - page.requested_at_ms
        if late_ms < self._deadline_ms:
            return None
        return Dead(DeadReason.EXPIRED, "expired", f"the provider did not take it within {late_ms // 1000} s")
