"""Carries out a decision about one SMS: publishes what follows, sets its timers, then writes the ledger, in that order.

Whoever calls holds the lock of the request's user. Run twice, it publishes records with the same ids and sets the same
timers; the ledger then says that it is done.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import structlog

from domain.notification import receipts
from domain.notification.circuit_breaker import FIRST_PROBE_MS
from domain.notification.decisions import (
    AwaitReceipt,
    Cancelled,
    Dead,
    Deferred,
    OptedOut,
    PauseLane,
    RateLimited,
    RetryAt,
    Sent,
)
from domain.notification.request_state import Standing
from schemas import messages as m
from schemas.topics import SMS_RETRIES
from streams.engine.timers import Timer
from streams.notifications.outcomes import Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from domain.notification.decisions import Decision
    from domain.notification.rate_limit import Window
    from streams.engine.interfaces import Slot
    from streams.engine.publish import Outgoing
    from streams.engine.timers import Timers
    from streams.notifications.ledger import Entry, Ledger
    from streams.notifications.outcomes import Origin, Outcomes
    from streams.notifications.plans import SmsPolicy

log = structlog.get_logger(__name__)


class Decisions:
    def __init__(
        self,
        *,
        publish: Callable[[Sequence[Outgoing]], Awaitable[None]],
        outcomes: Outcomes,
        ledger: Ledger,
        timers: Timers,
        topic_name: Callable[[str], str],
        policy: SmsPolicy,
        now_ms: Callable[[], int],
    ) -> None:
        self._publish = publish
        self._outcomes = outcomes
        self._ledger = ledger
        self._timers = timers
        self._returns = topic_name(SMS_RETRIES.name)
        self._policy = policy
        self._waits = receipts.Waits(policy.receipt_wait_ms, policy.final_wait_ms)
        self._now_ms = now_ms
        self.decided: Counter[tuple[m.Severity, str]] = Counter()

    @property
    def waits(self) -> receipts.Waits:
        return self._waits

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
        window = self._ledger.window(slot, request.user_id, request.kind)
        outgoing, standing, used = self._follows(request, attempt, decision, origin, asked=asked)
        after = msgspec.structs.replace(
            entry, standing=standing, attempt=used, redrives=request.redrives, changed_at_ms=now_ms, request=b""
        )
        change = self._ledger.change(slot)
        match decision:
            case Sent():
                after = self._accepted(after, request, decision)
                change.told(request, now_ms)
            case AwaitReceipt() if after.receipt is not None:
                after = msgspec.structs.replace(
                    after, receipt=receipts.unanswered(after.receipt), request=m.encode(request)
                )
            case Deferred(_, "rate_limited", _) if request.level == 1:
                after = msgspec.structs.replace(after, waited_for_window=True)
        await self._publish(outgoing)
        if isinstance(decision, Sent) and after.request and after.receipt is not None:
            await self.watch(slot, request, after.receipt)
        change.entry(request.request_id, after)
        change.window(request.user_id, request.kind, _moved(window, request, after, decision, now_ms))
        await change.write()
        self.decided[request.severity, type(decision).__name__] += 1
        _log(request, used, decision)

    def _accepted(self, entry: Entry, request: m.SmsRequest, sent: Sent) -> Entry:
        if entry.receipt is None:
            return entry
        receipt = receipts.accepted(entry.receipt, sent.provider_message_id)
        # The message is needed again only if a receipt may still say that it failed.
        waiting = self._policy.receipts and receipt.standing in receipts.OPEN
        return msgspec.structs.replace(entry, receipt=receipt, request=m.encode(request) if waiting else b"")

    async def watch(self, slot: Slot, request: m.SmsRequest, receipt: receipts.Attempt) -> None:
        """When no final receipt comes, the provider is asked."""
        due = m.ReceiptDue(request_id=request.request_id, user_id=request.user_id, attempt_id=receipt.attempt_id)
        timer = Timer(
            timer_id=watch_id(request.request_id),
            due_at_ms=receipts.due_at_ms(receipt, self._waits),
            topic=self._returns,
            key=request.user_id.encode(),
            value=m.encode(due),
            headers=(("id", f"{receipt.attempt_id}.{receipt.questions}".encode()), ("type", b"receipt_due")),
        )
        await self._timers.set(slot, [timer])

    def _follows(  # noqa: PLR0911 - one for each decision
        self, request: m.SmsRequest, attempt: int, decision: Decision, origin: Origin | None, *, asked: bool
    ) -> tuple[list[Outgoing], Standing, int]:
        """What is published, where the request stands then, and the attempts that are used up."""
        outcomes = self._outcomes
        match decision:
            case Sent(provider_message_id, parts):
                return outcomes.sent(request, attempt, provider_message_id, parts), Standing.SENT, attempt
            case RateLimited(until_at_ms, by_request_id):
                return outcomes.rate_limited(request, until_at_ms, by_request_id), Standing.CLOSED, attempt
            case Cancelled(because):
                return outcomes.cancelled(request, because), Standing.CLOSED, attempt
            case OptedOut(at_the_provider):
                return outcomes.opted_out(request, at_the_provider=at_the_provider), Standing.CLOSED, attempt
            case Dead(reason, code, error):
                failure = Failure(code, error)
                dead = outcomes.dead(request, attempt, reason, failure, origin)
                return [*outcomes.failed(request, attempt, failure), *dead], Standing.CLOSED, attempt
            case RetryAt(due_at_ms, code, error):
                failure = Failure(code, error)
                retry = outcomes.retry(request, attempt, due_at_ms, failure, origin)
                return [*outcomes.failed(request, attempt, failure), *retry], Standing.WAITING, attempt
            case AwaitReceipt(until_at_ms, _, code, error, uses_attempt):
                used = attempt if uses_attempt else request.attempts
                retry = outcomes.retry(request, used, until_at_ms, Failure(code, error), origin)
                return retry, Standing.WAITING, used
            case Deferred(until_at_ms, code, error):
                failure = Failure(code, error)
            case PauseLane(code, error):
                until_at_ms, failure = self._now_ms() + FIRST_PROBE_MS, Failure(code, error)
        # No attempt is used up: the same one comes again.
        retry = outcomes.retry(request, request.attempts, until_at_ms, failure, origin)
        failed = outcomes.failed(request, attempt, failure) if asked else []
        return [*failed, *retry], Standing.WAITING, request.attempts


def watch_id(request_id: str) -> str:
    """The timer that asks for a request's final receipt."""
    return f"receipt.{request_id}"


def _moved(window: Window, request: m.SmsRequest, entry: Entry, decision: Decision, now_ms: int) -> Window:
    match decision:
        case Sent():
            return window.sent(request.request_id, now_ms)
        case RateLimited() if not entry.waited_for_window:
            return window.limited()
        case Deferred(_, "rate_limited", _) if request.level == 1:
            return window.limited()
        case RateLimited() | AwaitReceipt():
            return window
        case _:
            return window.released(request.request_id)


def _log(request: m.SmsRequest, attempt: int, decision: Decision) -> None:
    about = {"request": request.request_id, "alert": request.alert_id, "user": request.user_id, "attempt": attempt}
    match decision:
        case Sent():
            log.info("sms.sent", **about)
        case RateLimited(until_at_ms, by_request_id):
            log.info("sms.rate_limited", until_at_ms=until_at_ms, by=by_request_id, **about)
        case Cancelled(because):
            log.info("sms.cancelled", because=because, **about)
        case OptedOut():
            log.info("sms.opted_out", **about)
        case Dead(reason, code, error, ops_told):
            level = log.error if ops_told else log.warning
            level("sms.dead", reason=reason, code=code, error=error, **about)
        case RetryAt(due_at_ms, code, error):
            log.warning("sms.retry", due_at_ms=due_at_ms, code=code, error=error, **about)
        case AwaitReceipt(until_at_ms, _, code, error):
            log.warning("sms.awaits_receipt", until_at_ms=until_at_ms, code=code, error=error, **about)
        case Deferred(until_at_ms, code, _):
            log.info("sms.deferred", until_at_ms=until_at_ms, code=code, **about)
        case PauseLane(code, error):
            log.warning("sms.deferred", code=code, error=error, **about)
