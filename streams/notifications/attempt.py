"""Third stage: one try of one request, from the ledger's note that it leaves to the provider's answer.

The attempt is in the ledger, and its `sending` outcome at the broker, before the request leaves. So whoever reads a
request again knows whether it was sent, and after a crash in between says `unknown` before anything else.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

from domain.notification.answers import Unanswered
from domain.notification.decisions import Deferred
from domain.notification.receipts import Attempt as Try
from domain.notification.request_state import RequestState
from domain.notification.retry_decision import after_answer
from schemas import messages as m
from streams.engine.consumer import Stale
from streams.engine.side_by_side import all_of
from streams.notifications.plans import is_revocable, revocation
from streams.notifications.provider import Sms, WebhookIds
from streams.notifications.windows import counts_for_window

if TYPE_CHECKING:
    import random

    from domain.notification.answers import Answer
    from domain.notification.decisions import AfterAnswer, Cancelled
    from streams.engine.interfaces import Clock, Publish
    from streams.notifications.closed_alerts import Closed
    from streams.notifications.job import Job
    from streams.notifications.ledger import Entry, Ledger
    from streams.notifications.outcomes import Outcomes
    from streams.notifications.plans import Send
    from streams.notifications.provider import Provider
    from streams.notifications.rate_limiter import RateLimiter
    from streams.notifications.sms_policy import SmsPolicy

CHECK_AGAIN_MS = 5_000
ASKS_AFTER_MS = 1_000
ANSWERS_KEPT = 1_000


class Attempts:
    """Makes attempts; the caller holds the lock of the request's user."""

    def __init__(
        self,
        *,
        provider: Provider,
        limiter: RateLimiter,
        ledger: Ledger,
        outcomes: Outcomes,
        closed: Closed,
        publish: Publish,
        policy: SmsPolicy,
        now_ms: Clock,
        rng: random.Random,
    ) -> None:
        self._provider = provider
        self._limiter = limiter
        self._ledger = ledger
        self._outcomes = outcomes
        self._closed = closed
        self._publish = publish
        self._policy = policy
        self._now_ms = now_ms
        self._rng = rng
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    def keep_answer(self, attempt_id: str, answer: Answer) -> None:
        """An answer that could not be written down: when its batch is read again here, nobody need ask twice."""
        self._answers[attempt_id] = answer
        if len(self._answers) > ANSWERS_KEPT:
            self._answers.popitem(last=False)

    def answer_kept(self, entry: Entry) -> Answer | None:
        if entry.state is not RequestState.SENDING or entry.receipt is None:
            return None
        return self._answers.pop(entry.receipt.attempt_id, None)

    async def make(self, job: Job, send: Send) -> Answer | Cancelled | Deferred:
        """The provider's answer; or why the request did not leave after all. Raises Stale when it may not."""
        batch, request = job.batch, job.request
        entry = self._ledger.entry(batch, request.request_id).of(request)
        await self._note(job, send, entry)
        await self._limiter.leave()
        if revoked := await self._revoked(request, entry):
            return revoked
        if not batch.still_ours():
            raise Stale
        answer = await self._provider.send(
            Sms(
                to_e164=send.phone_e164,
                text=send.text,
                ids=WebhookIds(user=request.user_id, request=request.request_id, attempt=send.attempt_id),
            )
        )
        self._limiter.answered(answer)
        return answer

    async def decide(self, job: Job, attempt: int, attempt_id: str, answer: Answer) -> AfterAnswer:
        """What follows from the answer; that the message may have arrived is published at once."""
        if isinstance(answer, Unanswered) and answer.may_have_arrived:
            await self._publish(self._outcomes.unknown(job.request, attempt, attempt_id))
        return after_answer(
            answer,
            attempt=attempt,
            provider_failures=job.request.provider_failures,
            now_ms=self._now_ms(),
            rng=self._rng,
            policy=self._policy.retry,
            receipt_wait_ms=self._policy.receipt_wait_ms,
            open_until_ms=self._limiter.breaker.open_until_ms,
        )

    async def _note(self, job: Job, send: Send, entry: Entry) -> None:
        batch, request, now_ms = job.batch, job.request, self._now_ms()
        if send.found_sending:
            await self._publish(self._outcomes.unknown(request, send.attempt, send.attempt_id))
        sending = msgspec.structs.replace(
            entry,
            state=RequestState.SENDING,
            attempt=send.attempt,
            redrives=request.redrives,
            changed_at_ms=now_ms,
            receipt=Try(send.attempt_id, now_ms),
            request=m.encode(request) if self._policy.receipts else b"",
            begun_at_ms=entry.begun_at_ms or now_ms,
            carried=tuple(m.encode(named) for named in send.carried),
            to_e164=send.phone_e164,
        )
        change = self._ledger.change(batch)
        change.entry(request.request_id, sending)
        if self._policy.window_ms and counts_for_window(request):
            change.window(request, self._ledger.window(batch, request).reserved(request.request_id, now_ms))
        if send.counts_for_cap:
            change.cap(request.organization_id, self._ledger.cap(batch, request.organization_id).left(now_ms))
        await all_of(
            self._publish(self._outcomes.sending(request, send.attempt, send.attempt_id)), change.write(durable=True)
        )

    async def _revoked(self, request: m.SmsRequest, entry: Entry) -> Cancelled | Deferred | None:
        """Asked at the last moment, with all that was published until now: nobody is paged after an acknowledgement.

        A first SMS that leaves at once has no time for that. One that waited asks, and leaves without an answer too.
        """
        wanted = is_revocable(request, entry)
        if not wanted and self._now_ms() < request.requested_at_ms + ASKS_AFTER_MS:
            return None
        try:
            await self._closed.up_to_date()
        except TimeoutError:
            if wanted:
                return Deferred(
                    self._now_ms() + CHECK_AGAIN_MS,
                    "acknowledgement_check_timeout",
                    "whether the alert is acknowledged could not be read in time",
                )
        return revocation(self._closed, request, entry, self._now_ms())
