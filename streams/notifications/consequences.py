"""What follows from a decision about one SMS: the records to publish, and how far the request is then."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, assert_never

import msgspec

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
)
from domain.notification.request_state import RequestState
from schemas import messages as m
from streams.notifications.outcomes import Failure

if TYPE_CHECKING:
    from domain.notification.decisions import Decision
    from schemas.headers import Origin
    from streams.engine.interfaces import Clock
    from streams.engine.publish import Outgoing
    from streams.notifications.outcomes import Outcomes


class Follows(NamedTuple):
    """What is published, how far the request is then, and the attempts that are used up.

    `due_at_ms` is when it comes again; None when it does not, or waits for its window or a silence to end.
    """

    outgoing: list[Outgoing]
    state: RequestState
    used: int
    due_at_ms: int | None = None
    gives_up: bool = False
    """No SMS can reach the user, or none did in time."""


class Consequences:
    def __init__(self, outcomes: Outcomes, now_ms: Clock) -> None:
        self._outcomes = outcomes
        self._now_ms = now_ms

    def of(  # noqa: PLR0911 - one for each decision
        self,
        request: m.SmsRequest,
        attempt: int,
        decision: Decision,
        origin: Origin | None,
        *,
        asked: bool,
        number: str,
    ) -> Follows:
        """`attempt` counts the attempts that are used up by now, `asked` whether the provider answered just now.

        `number` is where the last attempt went.
        """
        outcomes, unused = self._outcomes, request.attempts
        match decision:
            case Sent(provider_message_id, parts):
                return Follows(outcomes.sent(request, attempt, provider_message_id, parts), RequestState.SENT, attempt)
            case HeldBack():
                return _waiting(self._held_back(request, decision, origin), unused)
            case RateLimited(until_at_ms, by_request_id):
                return _closed(outcomes.rate_limited(request, until_at_ms, by_request_id), attempt)
            case Cancelled(because):
                return _closed(outcomes.cancelled(request, because), attempt)
            case OptedOut(at_the_provider):
                given_up = outcomes.opted_out(request, number if at_the_provider else None)
                return Follows(given_up, RequestState.CLOSED, attempt, gives_up=True)
            case Dead(reason, code, error):
                failure = Failure(code, error)
                dead = outcomes.dead(request, attempt, reason, failure, origin)
                given_up = [*outcomes.failed(request, attempt, failure), *dead]
                return Follows(given_up, RequestState.CLOSED, attempt, gives_up=True)
            case RetryAt(due_at_ms, code, error):
                failure = Failure(code, error)
                retry = outcomes.retry(request, attempt, due_at_ms, failure, origin)
                return _waiting([*outcomes.failed(request, attempt, failure), *retry], attempt, due_at_ms)
            case AwaitReceipt(until_at_ms, code, error):
                retry = outcomes.retry(_of_provider(request), unused, until_at_ms, Failure(code, error), origin)
                return _waiting(retry, unused, until_at_ms)
            case Deferred() | Paused():
                return self._put_off(request, attempt, decision, origin, asked=asked)
            case _:
                assert_never(decision)

    def _put_off(
        self, request: m.SmsRequest, attempt: int, decision: Deferred | Paused, origin: Origin | None, *, asked: bool
    ) -> Follows:
        """No attempt is used up: the same one comes again."""
        outcomes, unused = self._outcomes, request.attempts
        failure = Failure(decision.error_code, decision.error)
        wished = failure.code == "silenced"
        until_at_ms = decision.until_at_ms if isinstance(decision, Deferred) else self._now_ms() + FIRST_PROBE_MS
        if wished:
            # A silence is somebody's wish: the deadline runs from its end.
            request = msgspec.structs.replace(request, requested_at_ms=until_at_ms)
        retry = outcomes.retry(_of_provider(request) if asked else request, unused, until_at_ms, failure, origin)
        failed = outcomes.failed(request, attempt, failure) if asked else []
        return _waiting([*failed, *retry], unused, None if wished else until_at_ms)

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


def _closed(outgoing: list[Outgoing], used: int) -> Follows:
    return Follows(outgoing, RequestState.CLOSED, used)


def _waiting(outgoing: list[Outgoing], used: int, due_at_ms: int | None = None) -> Follows:
    return Follows(outgoing, RequestState.WAITING, used, due_at_ms)


def _of_provider(request: m.SmsRequest) -> m.SmsRequest:
    """The request with one more failure of the provider behind it."""
    return msgspec.structs.replace(request, provider_failures=request.provider_failures + 1)
