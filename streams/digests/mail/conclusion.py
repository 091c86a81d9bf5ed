"""Carries out a decision about one mail: publishes what follows, then writes the ledger."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, assert_never

import msgspec
import structlog

from domain.notification.circuit_breaker import FIRST_PROBE_MS
from domain.notification.decisions import (
    AfterAnswer,
    AwaitReceipt,
    Cancelled,
    Dead,
    Deferred,
    OptedOut,
    Paused,
    RetryAt,
    Sent,
    name_of,
)
from domain.notification.request_state import RequestState

if TYPE_CHECKING:
    from schemas import messages as m
    from streams.digests.mail.ledger import Entry, Ledger
    from streams.digests.mail.records import EmailRecords
    from streams.engine.consumer import Record
    from streams.engine.interfaces import Clock, Publish, Slot
    from streams.engine.publish import Outgoing

log = structlog.get_logger(__name__)


class Conclusion:
    """`decided` counts decisions by their names."""

    def __init__(self, *, records: EmailRecords, ledger: Ledger, publish: Publish, now_ms: Clock) -> None:
        self._records = records
        self._ledger = ledger
        self._publish = publish
        self._now_ms = now_ms
        self._known: set[str] = set()
        self.decided: Counter[str] = Counter()

    async def carry_out(
        self,
        slot: Slot,
        request: m.EmailRequest,
        record: Record,
        entry: Entry,
        attempt: int,
        decision: AfterAnswer | Cancelled,
        message_id: str = "",
        *,
        asked: bool = False,
    ) -> None:
        """`attempt` counts the attempts that are used up by now, `asked` whether the provider answered just now."""
        outgoing, state, used = self._follows(request, record, attempt, decision, message_id, asked=asked)
        await self._publish(outgoing)
        entry = entry.moved(state, used, request.redrives, self._now_ms())
        await self._ledger.write(slot, request.request_id, entry)
        self.decided[name_of(decision)] += 1
        self._log(request, used, decision)

    def _follows(
        self,
        request: m.EmailRequest,
        record: Record,
        attempt: int,
        decision: AfterAnswer | Cancelled,
        message_id: str,
        *,
        asked: bool,
    ) -> tuple[list[Outgoing], RequestState, int]:
        records = self._records
        match decision:
            case Sent(provider_message_id):
                return records.sent(request, attempt, provider_message_id, message_id), RequestState.SENT, attempt
            case Cancelled(because):
                return records.cancelled(request, because), RequestState.CLOSED, attempt
            case OptedOut():
                because = "the provider has the user on its list of unsubscribed addresses"
                return records.cancelled(request, because), RequestState.CLOSED, attempt
            case Dead():
                return records.dead(request, attempt, decision, record), RequestState.CLOSED, attempt
            case RetryAt(due_at_ms):
                return records.retry(request, attempt, due_at_ms, decision, record), RequestState.WAITING, attempt
            case Deferred(until_at_ms):
                due_at_ms = until_at_ms
            case Paused():
                due_at_ms = self._now_ms() + FIRST_PROBE_MS
            case AwaitReceipt():
                raise ValueError(f"no receipt can come for the mail {request.request_id}")
            case _:
                assert_never(decision)
        # No attempt is used up: the same one comes again.
        if asked:
            request = msgspec.structs.replace(request, provider_failures=request.provider_failures + 1)
        retry = records.retry(request, request.attempts, due_at_ms, decision, record)
        return retry, RequestState.WAITING, request.attempts

    def _log(self, request: m.EmailRequest, attempt: int, decision: AfterAnswer | Cancelled) -> None:
        about = {"request": request.request_id, "user": request.user_id, "attempt": attempt}
        match decision:
            case Sent():
                self._known.clear()
                log.info("email.sent", **about)
            case Cancelled(because):
                log.info("email.cancelled", because=because, **about)
            case OptedOut():
                log.info("email.opted_out", **about)
            case Dead(reason, code, error):
                log.error("email.dead", reason=reason, code=code, error=error, **about)
            case RetryAt(due_at_ms, code, error):
                log.warning("email.retry", due_at_ms=due_at_ms, code=code, error=error, **about)
            case Deferred(_, code, error) | Paused(code, error) | AwaitReceipt(_, code, error):
                # Ops is notified once, not by each of hundreds of mails every minute; the metric counts them.
                tell = log.info if code in self._known else log.error
                self._known.add(code)
                tell("email.deferred", code=code, error=error, **about)
            case _:
                assert_never(decision)
