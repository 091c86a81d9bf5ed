"""`sms-critical`, `sms-warning`, `sms-info` → the provider → `sms-outcomes`, `sms-retries`, `sms-dlq`.

Every attempt is in the ledger, and its `sending` outcome at the broker, before the request leaves. So whoever reads a
request again knows whether it was sent, and after a crash in between says `unknown` before it sends once more.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from schemas import messages as m
from streams.consumer import Stale
from streams.domain.decisions import (
    AwaitReceipt,
    Dead,
    Deferred,
    OptedOut,
    PauseLane,
    RetryAt,
    Sent,
    after_answer,
    attempt_id,
    no_receipt_came,
    unreachable,
)
from streams.sms_ledger import Entry, Ledger, Standing
from streams.sms_outcomes import Failure, Outcomes
from streams.telnyx import Sms

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from streams.consumer import Batch
    from streams.domain.sms_answers import Answer

log = structlog.get_logger(__name__)

_decode = msgspec.json.Decoder(m.SmsRequest).decode


DEFERRAL_MS = 60_000

Concluding = Sent | RetryAt | Deferred | PauseLane | OptedOut | Dead


class Provider(Protocol):
    async def send(self, sms: Sms) -> Answer: ...


class Contacts(Protocol):
    def get(self, entry_id: str) -> m.Contact | None: ...


class Dispatch:
    """Sends what the lanes hold: in parallel, at most `concurrency` at a time, each user's messages in order."""

    def __init__(
        self,
        *,
        provider: Provider,
        contacts: Contacts,
        ledger: Ledger,
        outcomes: Outcomes,
        concurrency: int,
        now_ms: Callable[[], int],
        rng: random.Random,
    ) -> None:
        self._provider = provider
        self._contacts = contacts
        self._ledger = ledger
        self._outcomes = outcomes
        self._places = asyncio.Semaphore(concurrency)
        self._now_ms = now_ms
        self._rng = rng
        self.decided: Counter[tuple[m.Severity, str]] = Counter()

    async def handle(self, batch: Batch) -> None:
        by_user: defaultdict[str, list[m.SmsRequest]] = defaultdict(list)
        for record in batch.records:
            try:
                request = _decode(record.value or b"")
            except msgspec.MsgspecError as error:
                await self._outcomes.unreadable(record, str(error))
                continue
            by_user[request.user_id].append(request)
        # Each finishes what it has begun: a request that is cancelled half-way may have been sent all the same.
        ends = await asyncio.gather(
            *(self._in_order(batch, requests) for requests in by_user.values()), return_exceptions=True
        )
        failures = [end for end in ends if isinstance(end, BaseException)]
        failures.sort(key=lambda failure: isinstance(failure, Stale))
        if failures:
            raise failures[0]

    async def _in_order(self, batch: Batch, requests: list[m.SmsRequest]) -> None:
        for request in requests:
            async with self._places:
                if batch.must_end():
                    # What was not tried goes back, and is sent by the next owner.
                    raise Stale
                await self._deliver(batch, request)

    async def _deliver(self, batch: Batch, request: m.SmsRequest) -> None:
        entry = self._ledger.read(batch, request.request_id)
        if not entry.may_try(request.attempts):
            return
        contact = self._contacts.get(request.user_id)
        if hindrance := unreachable(contact):
            await self._conclude(batch, request, entry, request.attempts, hindrance)
            return
        assert contact is not None
        assert contact.phone_e164 is not None
        attempt = request.attempts + 1
        attempt_id_ = attempt_id(request.request_id, attempt, request.redrives)
        if entry.standing is Standing.SENDING:
            # Somebody died between asking the provider and writing its answer down.
            await self._outcomes.unknown(request, attempt, attempt_id_)
        entry = entry.moved(Standing.SENDING, attempt)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._outcomes.sending(request, attempt, attempt_id_))
            group.create_task(self._ledger.write_durably(batch, request.request_id, entry))
        if not batch.still_ours():
            raise Stale
        answer = await self._provider.send(Sms(to_e164=contact.phone_e164, text=request.text))
        decision = after_answer(answer, attempt=attempt, now_ms=self._now_ms(), rng=self._rng, receipt_wait_s=None)
        if isinstance(decision, AwaitReceipt):
            await self._outcomes.unknown(request, attempt, attempt_id_)
            decision = no_receipt_came(decision, now_ms=self._now_ms())
        await self._conclude(batch, request, entry, attempt, decision)

    async def _conclude(
        self, batch: Batch, request: m.SmsRequest, entry: Entry, attempt: int, decision: Concluding
    ) -> None:
        """Publish the decision, then write it to the ledger."""
        about = {"request": request.request_id, "alert": request.alert_id, "user": request.user_id, "attempt": attempt}
        match decision:
            case Sent(provider_message_id, parts):
                await self._outcomes.sent(request, attempt, provider_message_id, parts)
                entry = entry.moved(Standing.SENT, attempt, provider_message_id)
                log.info("sms.sent", **about)
            case OptedOut():
                await self._outcomes.opted_out(request)
                entry = entry.moved(Standing.CLOSED, attempt)
                log.info("sms.opted_out", **about)
            case Dead(reason, error_code, error):
                await self._outcomes.dead(request, attempt, reason, Failure(error_code, error))
                entry = entry.moved(Standing.CLOSED, attempt)
                log.error("sms.dead", reason=reason, code=error_code, error=error, **about)
            case RetryAt(due_at_ms, error_code, error):
                await self._outcomes.retry(request, attempt, due_at_ms, Failure(error_code, error))
                entry = entry.moved(Standing.WAITING, attempt)
                log.warning("sms.retry", due_at_ms=due_at_ms, code=error_code, error=error, **about)
            case Deferred(_, error_code, error) | PauseLane(error_code, error):
                # No attempt is used up: the same one comes again.
                due_at_ms = self._now_ms() + DEFERRAL_MS
                await self._outcomes.retry(request, request.attempts, due_at_ms, Failure(error_code, error))
                entry = entry.moved(Standing.WAITING, request.attempts)
                log.error("sms.deferred", due_at_ms=due_at_ms, code=error_code, error=error, **about)
        await self._ledger.write(batch, request.request_id, entry)
        self.decided[request.severity, type(decision).__name__] += 1
