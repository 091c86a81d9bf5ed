"""What follows from a provider's answer to one message, SMS or mail: the one place that decides about retries.

Answers that speak of the provider (5xx, 429, time-outs, refused connections) use up no attempt and kill no message:
it comes again until its deadline. Attempts are for answers about this very message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from domain.notification import retry
from domain.notification.answers import Accepted, Answer, Refused, Unanswered
from domain.notification.decisions import (
    AfterAnswer,
    AwaitReceipt,
    Dead,
    DeadReason,
    Deferred,
    OptedOut,
    Paused,
    RetryAt,
    Sent,
)
from domain.notification.error_class import ErrorClass

if TYPE_CHECKING:
    import random

UNKNOWN_ERROR_ATTEMPTS = 2


def after_answer(
    answer: Answer,
    *,
    attempt: int,
    provider_failures: int,
    now_ms: int,
    rng: random.Random,
    policy: retry.RetryPolicy,
    receipt_wait_ms: int | None,
    open_until_ms: int | None,
) -> AfterAnswer:
    """What follows from the `attempt`-th try (1 is the first), after `provider_failures` that used up none.

    `receipt_wait_ms` is None when no receipt can come: without webhooks, and for mails. `open_until_ms` is set while
    the circuit breaker is open: until then the provider is not asked again.
    """
    wait_s = retry.provider_delay_s(provider_failures, rng)
    match answer:
        case Accepted(provider_message_id, parts):
            return Sent(provider_message_id, parts)
        case Unanswered(kind, detail):
            if answer.may_have_arrived:
                wait_s = retry.timeout_delay_s(provider_failures + 1)
            due_at_ms = max(_later(now_ms, wait_s), open_until_ms or 0)
            if answer.may_have_arrived and receipt_wait_ms is not None:
                return AwaitReceipt(max(due_at_ms, now_ms + receipt_wait_ms), str(kind), detail)
            return Deferred(due_at_ms, str(kind), detail)
        case Refused(ErrorClass.UNAVAILABLE | ErrorClass.THROTTLED as error_class, code, title):
            if error_class is ErrorClass.THROTTLED:
                wait_s = retry.throttled_delay_s(answer.retry_after_s)
            elif answer.retry_after_s is not None:
                wait_s = max(wait_s, retry.throttled_delay_s(answer.retry_after_s))
            return Deferred(max(_later(now_ms, wait_s), open_until_ms or 0), code, title)
        case Refused():
            return after_refusal(answer, attempt=attempt, now_ms=now_ms, rng=rng, policy=policy)
        case _:
            assert_never(answer)


def after_refusal(
    refused: Refused, *, attempt: int, now_ms: int, rng: random.Random, policy: retry.RetryPolicy
) -> AfterAnswer:
    """What follows when the provider refused this message, or when a receipt says that it failed after all."""
    code, error = refused.code, refused.title
    allowed, delay_s = policy.allows_another(attempt), policy.delay_s(attempt, rng)
    match refused.error_class:
        case ErrorClass.RECIPIENT | ErrorClass.MESSAGE | ErrorClass.ASK_A_PERSON as final:
            return Dead(DeadReason(final.value), code, error, refused.notify_ops)
        case ErrorClass.OPTED_OUT:
            return OptedOut(at_the_provider=True)
        case ErrorClass.CONFIGURATION:
            return Paused(code, error)
        case ErrorClass.THROTTLED:
            delay_s = retry.throttled_delay_s(refused.retry_after_s)
        case ErrorClass.UNKNOWN:
            # It may be fatal for all we know: once more after a good while, then a person.
            delay_s = retry.THROTTLED_S
            allowed = attempt < min(UNKNOWN_ERROR_ATTEMPTS, policy.attempts)
        case ErrorClass.TRANSIENT | ErrorClass.UNAVAILABLE:
            if refused.retry_after_s is not None:
                delay_s = max(delay_s, retry.throttled_delay_s(refused.retry_after_s))
        case _:
            assert_never(refused.error_class)
    if not allowed:
        return Dead(DeadReason.EXHAUSTED, code, error, notify_ops=True)
    return RetryAt(_later(now_ms, delay_s), code, error)


def _later(now_ms: int, delay_s: float) -> int:
    return now_ms + round(delay_s * 1000)
