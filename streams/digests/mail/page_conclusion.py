"""Carries out a decision about one page by e-mail: publishes what follows, sets the timer of a retry, then writes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypedDict, assert_never

import msgspec
import structlog

from domain.notification.circuit_breaker import FIRST_PROBE_MS
from domain.notification.decisions import AfterAnswer, AwaitReceipt, Dead, Deferred, OptedOut, Paused, RetryAt, Sent
from domain.notification.request_state import RequestState
from schemas import messages as m
from schemas.headers import event_headers
from schemas.topics import EMAIL_OUTCOMES, PAGE_EMAILS
from streams.engine.publish import Outgoing
from streams.engine.timers import Timer

if TYPE_CHECKING:
    from streams.digests.mail.ledger import Ledger
    from streams.engine.interfaces import Clock, Publish, Slot
    from streams.engine.timers import Timers

log = structlog.get_logger(__name__)


class _About(TypedDict):
    """What every outcome says of its page."""

    request_id: str
    organization_id: str
    user_id: str
    alert_id: str | None
    because: m.PageEmailCause
    attempt: int
    at_ms: int


class PageConclusion:
    """`decided` counts decisions by their names."""

    def __init__(self, *, ledger: Ledger, timers: Timers, publish: Publish, now_ms: Clock) -> None:
        self._ledger = ledger
        self._timers = timers
        self._publish = publish
        self._now_ms = now_ms
        self.decided: Counter[str] = Counter()

    async def carry_out(
        self, slot: Slot, page: m.PageEmail, attempt: int, decision: AfterAnswer, message_id: str = ""
    ) -> None:
        """`attempt` counts the attempts that are used up by now."""
        about = self._about(page, attempt)
        match decision:
            case Sent():
                sent = m.PageEmailSent(message_id=message_id, **about)
                await self._settle(slot, page, sent, RequestState.SENT)
            case OptedOut():
                error = "the provider has the address on its list of unsubscribed ones"
                dead = m.PageEmailDead(reason="recipient", error_code="unsubscribed", error=error, **about)
                await self._settle(slot, page, dead, RequestState.CLOSED)
            case Dead(reason, code, error):
                dead = m.PageEmailDead(reason=reason, error_code=code, error=error, **about)
                await self._settle(slot, page, dead, RequestState.CLOSED)
            case RetryAt(due_at_ms, code, error):
                await self._again(slot, msgspec.structs.replace(page, attempts=attempt), due_at_ms, code, error)
            case Deferred(due_at_ms, code, error):
                await self._again(slot, _of_provider(page), due_at_ms, code, error)
            case Paused(code, error):
                await self._again(slot, _of_provider(page), self._now_ms() + FIRST_PROBE_MS, code, error)
            case AwaitReceipt():
                raise ValueError(f"no receipt can come for the mail {page.request_id}")
            case _:
                assert_never(decision)

    async def _settle(
        self, slot: Slot, page: m.PageEmail, outcome: m.PageEmailSent | m.PageEmailDead, state: RequestState
    ) -> None:
        await self._publish([_outcome(outcome)])
        entry = self._ledger.read(slot, page.request_id)
        await self._ledger.write(slot, page.request_id, entry.moved(state, outcome.attempt, 0, self._now_ms()))
        name = str(outcome.__struct_config__.tag)
        self.decided[name] += 1
        tell = log.info if isinstance(outcome, m.PageEmailSent) else log.error
        tell(f"page_email.{state.name.lower()}", request=page.request_id, user=page.user_id, because=page.because)

    async def _again(self, slot: Slot, page: m.PageEmail, due_at_ms: int, code: str, error: str) -> None:
        about = self._about(page, page.attempts)
        failed = m.PageEmailFailed(error_code=code, error=error, due_at_ms=due_at_ms, **about)
        timer = Timer(
            timer_id=f"page|{page.request_id}",
            due_at_ms=due_at_ms,
            topic=PAGE_EMAILS,
            key=page.user_id.encode(),
            value=m.encode(page),
            headers=event_headers(f"{page.request_id}.{page.attempts}.{page.provider_failures}", "page_email"),
        )
        await self._publish([_outcome(failed)])
        await self._timers.set(slot, [timer])
        entry = self._ledger.read(slot, page.request_id)
        waiting = entry.moved(RequestState.WAITING, page.attempts, 0, self._now_ms())
        await self._ledger.write(slot, page.request_id, waiting)
        self.decided["retry"] += 1
        log.warning("page_email.retry", request=page.request_id, due_at_ms=due_at_ms, code=code, error=error)

    def _about(self, page: m.PageEmail, attempt: int) -> _About:
        return {
            "request_id": page.request_id,
            "organization_id": page.organization_id,
            "user_id": page.user_id,
            "alert_id": page.alert_id,
            "because": page.because,
            "attempt": attempt,
            "at_ms": self._now_ms(),
        }


def _of_provider(page: m.PageEmail) -> m.PageEmail:
    """The page with one more failure of the provider behind it."""
    return msgspec.structs.replace(page, provider_failures=page.provider_failures + 1)


def _outcome(outcome: m.PageMailOutcome) -> Outgoing:
    kind = str(outcome.__struct_config__.tag)
    headers = event_headers(f"{outcome.request_id}.{outcome.attempt}.{outcome.at_ms}.{kind}", kind)
    return Outgoing(EMAIL_OUTCOMES, outcome.user_id.encode(), m.encode(outcome), headers)
