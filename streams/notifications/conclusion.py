"""Last stage: carries out a decision about one SMS. It publishes what follows, sets timers, then writes the ledger.

Whoever calls holds the lock of the request's user. Run twice, it publishes records with the same ids and sets the same
timers; the ledger then says that it is done.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, assert_never

import msgspec

from domain.notification import receipts
from domain.notification.circuit_breaker import FIRST_PROBE_MS
from domain.notification.decisions import (
    AwaitReceipt,
    Cancelled,
    Dead,
    Deferred,
    HeldBack,
    OptedOut,
    Paused,
    RateLimited,
    RetryAt,
    Sent,
    name_of,
)
from domain.notification.rate_limit import Held
from domain.notification.request_state import RequestState
from schemas import messages as m
from schemas.headers import event_headers
from schemas.topics import SMS_RETRIES
from streams.engine.timers import Timer
from streams.notifications.decision_log import log_decision
from streams.notifications.outcomes import Failure
from streams.notifications.windows import counts_for_window

if TYPE_CHECKING:
    from domain.notification.decisions import Decision
    from domain.notification.rate_limit import Window
    from schemas.headers import Origin
    from streams.engine.interfaces import Clock, Publish, Slot
    from streams.engine.publish import Outgoing
    from streams.engine.timers import Timers
    from streams.notifications.ledger import Change, Entry, Ledger
    from streams.notifications.outcomes import Outcomes
    from streams.notifications.sms_policy import SmsPolicy

decode_request = msgspec.json.Decoder(m.SmsRequest).decode


class _Follows(NamedTuple):
    """What is published, how far the request is then, and the attempts that are used up."""

    outgoing: list[Outgoing]
    state: RequestState
    used: int


class Conclusion:
    def __init__(
        self,
        *,
        publish: Publish,
        outcomes: Outcomes,
        ledger: Ledger,
        timers: Timers,
        policy: SmsPolicy,
        now_ms: Clock,
    ) -> None:
        self._publish = publish
        self._outcomes = outcomes
        self._ledger = ledger
        self._timers = timers
        self._policy = policy
        self._now_ms = now_ms
        self.decided: Counter[tuple[m.Severity, str]] = Counter()

    async def carry_out(
        self,
        slot: Slot,
        request: m.SmsRequest,
        entry: Entry,
        attempt: int,
        decision: Decision,
        *,
        origin: Origin | None = None,
        asked: bool = False,
    ) -> None:
        """`attempt` counts the attempts that are used up by now, `asked` whether the provider answered just now."""
        now_ms = self._now_ms()
        follows = self._follows(request, attempt, decision, origin, asked=asked)
        after = msgspec.structs.replace(
            entry,
            state=follows.state,
            attempt=follows.used,
            redrives=request.redrives,
            changed_at_ms=now_ms,
            request=b"",
            begun_at_ms=entry.begun_at_ms or now_ms,
        )
        change = self._ledger.change(slot)
        named: list[m.SmsRequest] = []
        match decision:
            case Sent(provider_message_id):
                named = [decode_request(raw) for raw in after.carried]
                for one in named:
                    follows.outgoing.extend(self._outcomes.named(one, provider_message_id, request.request_id))
                after = self._accepted(after, request, decision)
                change.notified(request, now_ms)
            case AwaitReceipt() if after.receipt is not None:
                after = msgspec.structs.replace(
                    after, receipt=receipts.unanswered(after.receipt), request=m.encode(request)
                )
            case HeldBack():
                after = msgspec.structs.replace(after, waited_for_window=True)
        await self._publish(follows.outgoing)
        if isinstance(decision, Sent) and after.request and after.receipt is not None:
            await self.watch(slot, request, after.receipt)
        change.entry(request.request_id, after)
        for one in named:
            self._named(change, slot, one, now_ms)
        change.window(request, self._moved(slot, request, after, decision, now_ms))
        await change.write()
        self.decided[request.severity, name_of(decision)] += 1
        log_decision(request, follows.used, decision)

    def _named(self, change: Change, slot: Slot, request: m.SmsRequest, now_ms: int) -> None:
        """The SMS of another request named this one's alert: it is settled, and its user may acknowledge it."""
        entry = self._ledger.entry(slot, request.request_id).of(request)
        settled = msgspec.structs.replace(
            entry, state=RequestState.SENT, redrives=request.redrives, changed_at_ms=now_ms
        )
        change.entry(request.request_id, settled)
        change.notified(request, now_ms)

    def _moved(self, slot: Slot, request: m.SmsRequest, entry: Entry, decision: Decision, now_ms: int) -> Window:
        window = self._ledger.window(slot, request)
        match decision:
            case HeldBack(until_at_ms):
                return window.holding(Held(request.request_id, m.encode(request)), until_at_ms)
            case Sent() if counts_for_window(request):
                named = {request.request_id, *(decode_request(raw).request_id for raw in entry.carried)}
                sent = window.named(frozenset(named))
                return sent.sent(request.request_id, now_ms, self._policy.window_ms)
            case AwaitReceipt():
                return window
            case _:
                if entry.state is RequestState.CLOSED:
                    window = window.named(frozenset({request.request_id}))
                return window.released(request.request_id)

    def _accepted(self, entry: Entry, request: m.SmsRequest, sent: Sent) -> Entry:
        if entry.receipt is None:
            return entry
        receipt = receipts.accepted(entry.receipt, sent.provider_message_id)
        # The message is needed again only if a receipt may still say that it failed.
        waiting = self._policy.receipts and receipt.state in receipts.OPEN
        return msgspec.structs.replace(entry, receipt=receipt, request=m.encode(request) if waiting else b"")

    async def watch(self, slot: Slot, request: m.SmsRequest, receipt: receipts.Attempt) -> None:
        """When no final receipt comes, the provider is asked."""
        due = m.ReceiptDue(request_id=request.request_id, user_id=request.user_id, attempt_id=receipt.attempt_id)
        timer = Timer(
            timer_id=watch_id(request.request_id),
            due_at_ms=receipts.due_at_ms(receipt, self._policy.waits),
            topic=SMS_RETRIES,
            key=request.user_id.encode(),
            value=m.encode(due),
            headers=event_headers(f"{receipt.attempt_id}.{receipt.polls}", "receipt_due"),
        )
        await self._timers.set(slot, [timer])

    def _held_back(self, request: m.SmsRequest, held: HeldBack, origin: Origin | None) -> list[Outgoing]:
        code = "gathered" if held.gathered else "rate_limited"
        failure = Failure(code, f"named in one SMS with others, after {held.by_request_id}")
        outgoing = self._outcomes.retry(request, request.attempts, held.until_at_ms, failure, origin)
        if held.gathered:
            return outgoing
        outgoing += self._outcomes.rate_limited(request, held.until_at_ms, held.by_request_id)
        if request.severity is m.Severity.CRITICAL:
            # The next person is asked at once.
            outgoing.append(self._outcomes.undelivered(request, request.attempts, "rate_limited"))
        return outgoing

    def _follows(  # noqa: C901, PLR0911 - one for each decision
        self, request: m.SmsRequest, attempt: int, decision: Decision, origin: Origin | None, *, asked: bool
    ) -> _Follows:
        outcomes, unused = self._outcomes, request.attempts
        match decision:
            case Sent(provider_message_id, parts):
                return _Follows(outcomes.sent(request, attempt, provider_message_id, parts), RequestState.SENT, attempt)
            case HeldBack():
                return _waiting(self._held_back(request, decision, origin), unused)
            case RateLimited(until_at_ms, by_request_id):
                return _closed(outcomes.rate_limited(request, until_at_ms, by_request_id), attempt)
            case Cancelled(because):
                return _closed(outcomes.cancelled(request, because), attempt)
            case OptedOut(at_the_provider):
                return _closed(outcomes.opted_out(request, at_the_provider=at_the_provider), attempt)
            case Dead(reason, code, error):
                failure = Failure(code, error)
                dead = outcomes.dead(request, attempt, reason, failure, origin)
                return _closed([*outcomes.failed(request, attempt, failure), *dead], attempt)
            case RetryAt(due_at_ms, code, error):
                failure = Failure(code, error)
                retry = outcomes.retry(request, attempt, due_at_ms, failure, origin)
                return _waiting([*outcomes.failed(request, attempt, failure), *retry], attempt)
            case AwaitReceipt(until_at_ms, code, error):
                retry = outcomes.retry(_of_provider(request), unused, until_at_ms, Failure(code, error), origin)
                return _waiting(retry, unused)
            case Deferred(until_at_ms, code, error):
                failure = Failure(code, error)
                if code == "silenced":
                    # A silence is somebody's wish: the deadline runs from its end.
                    request = msgspec.structs.replace(request, requested_at_ms=until_at_ms)
            case Paused(code, error):
                until_at_ms, failure = self._now_ms() + FIRST_PROBE_MS, Failure(code, error)
            case _:
                assert_never(decision)
        # No attempt is used up: the same one comes again.
        retry = outcomes.retry(_of_provider(request) if asked else request, unused, until_at_ms, failure, origin)
        failed = outcomes.failed(request, attempt, failure) if asked else []
        return _waiting([*failed, *retry], unused)


def watch_id(request_id: str) -> str:
    """The timer that asks for a request's final receipt."""
    return f"receipt.{request_id}"


def _closed(outgoing: list[Outgoing], used: int) -> _Follows:
    return _Follows(outgoing, RequestState.CLOSED, used)


def _waiting(outgoing: list[Outgoing], used: int) -> _Follows:
    return _Follows(outgoing, RequestState.WAITING, used)


def _of_provider(request: m.SmsRequest) -> m.SmsRequest:
    """The request with one more failure of the provider behind it."""
    return msgspec.structs.replace(request, provider_failures=request.provider_failures + 1)
