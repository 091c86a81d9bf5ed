import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.notification import retry
from domain.notification.answers import Accepted, Answer, NoAnswer, Refused, Unanswered
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
from domain.notification.retry_decision import after_answer, after_refusal

NOW = 1_000_000
NO_JITTER = retry.RetryPolicy(attempts=3, back_off=retry.BackOff.EXPONENTIAL, base_s=1.0, jitter=0.0)
C = ErrorClass


class NoJitter(random.Random):
    def random(self) -> float:
        return 0.0


RNG = NoJitter()


def decided(
    answer: Answer,
    attempt: int = 1,
    *,
    provider_failures: int = 0,
    receipt_wait_ms: int | None = 20_000,
    open_until_ms: int | None = None,
) -> AfterAnswer:
    return after_answer(
        answer,
        attempt=attempt,
        provider_failures=provider_failures,
        now_ms=NOW,
        rng=RNG,
        policy=NO_JITTER,
        receipt_wait_ms=receipt_wait_ms,
        open_until_ms=open_until_ms,
    )


@pytest.mark.parametrize(
    ("answer", "attempt", "decision"),
    [
        (Accepted("id", 2), 1, Sent("id", 2)),
        # about this message, and it may pass: 1 s, 2 s, and the third was the last
        (Refused(C.TRANSIENT, "40006", "oh"), 1, RetryAt(NOW + 1000, "40006", "oh")),
        (Refused(C.TRANSIENT, "40006", "oh"), 2, RetryAt(NOW + 2000, "40006", "oh")),
        (Refused(C.TRANSIENT, "40006", "oh"), 3, Dead(DeadReason.EXHAUSTED, "40006", "oh", notify_ops=True)),
        # the provider asks for more patience than ours, and for less
        (Refused(C.TRANSIENT, "40006", "oh", retry_after_s=9.0), 1, RetryAt(NOW + 9000, "40006", "oh")),
        (Refused(C.TRANSIENT, "40006", "oh", retry_after_s=0.1), 1, RetryAt(NOW + 1000, "40006", "oh")),
        # fatal: tried once
        (Refused(C.RECIPIENT, "40310", "oh"), 1, Dead(DeadReason.RECIPIENT, "40310", "oh")),
        (
            Refused(C.MESSAGE, "40302", "oh", notify_ops=True),
            1,
            Dead(DeadReason.MESSAGE, "40302", "oh", notify_ops=True),
        ),
        (Refused(C.ASK_A_PERSON, "40003", "oh"), 1, Dead(DeadReason.ASK_A_PERSON, "40003", "oh")),
        # only the provider knew that they wrote STOP
        (Refused(C.OPTED_OUT, "40300", "oh"), 1, OptedOut(at_the_provider=True)),
        # our set-up: no attempt is used up, whichever it is
        (Refused(C.CONFIGURATION, "20100", "oh"), 3, Paused("20100", "oh")),
        # a code of tomorrow: once more after a minute, then a person
        (Refused(C.UNKNOWN, "99999", "oh"), 1, RetryAt(NOW + 60_000, "99999", "oh")),
        (Refused(C.UNKNOWN, "99999", "oh"), 2, Dead(DeadReason.EXHAUSTED, "99999", "oh", notify_ops=True)),
    ],
)
def test_what_follows_from_an_answer_about_the_message(answer: Answer, attempt: int, decision: AfterAnswer) -> None:
    assert decided(answer, attempt) == decision


@pytest.mark.parametrize("attempt", [1, 3, 9])
@pytest.mark.parametrize(
    ("answer", "failures", "decision"),
    [
        # 5xx: 1 s, 2 s, 4 s … 15 s
        (Refused(C.UNAVAILABLE, "50000", "oh"), 0, Deferred(NOW + 1_000, "50000", "oh")),
        (Refused(C.UNAVAILABLE, "50000", "oh"), 2, Deferred(NOW + 4_000, "50000", "oh")),
        (Refused(C.UNAVAILABLE, "50000", "oh"), 999, Deferred(NOW + 15_000, "50000", "oh")),
        (Refused(C.UNAVAILABLE, "http-503", "oh", retry_after_s=9.0), 0, Deferred(NOW + 9_000, "http-503", "oh")),
        # too fast: a minute, or what the provider says
        (Refused(C.THROTTLED, "10011", "oh"), 0, Deferred(NOW + 60_000, "10011", "oh")),
        (Refused(C.THROTTLED, "10011", "oh", retry_after_s=7.0), 5, Deferred(NOW + 7_000, "10011", "oh")),
        # never left
        (Unanswered(NoAnswer.NOT_CONNECTED), 1, Deferred(NOW + 2_000, "not_connected", "")),
        # may have arrived: a receipt has 20 s
        (Unanswered(NoAnswer.TIMEOUT, "x"), 0, AwaitReceipt(NOW + 20_000, "timeout", "x")),
        (Unanswered(NoAnswer.CONNECTION_LOST, "x"), 7, AwaitReceipt(NOW + 40_000, "connection_lost", "x")),
    ],
)
def test_what_speaks_of_the_provider_uses_up_no_attempt(
    answer: Answer, failures: int, decision: AfterAnswer, attempt: int
) -> None:
    assert decided(answer, attempt, provider_failures=failures) == decision


@pytest.mark.parametrize(("failures", "wait_ms"), [(0, 5_000), (1, 10_000), (2, 15_000), (9_999, 300_000)])
def test_without_receipts_a_timeout_waits_longer_each_time_for_each_may_be_a_copy(failures: int, wait_ms: int) -> None:
    decision = decided(Unanswered(NoAnswer.TIMEOUT), provider_failures=failures, receipt_wait_ms=None)
    assert decision == Deferred(NOW + wait_ms, "timeout", "")


@pytest.mark.parametrize(
    "answer", [Unanswered(NoAnswer.NOT_CONNECTED), Refused(C.UNAVAILABLE, "x"), Unanswered(NoAnswer.TIMEOUT)]
)
def test_while_the_breaker_is_open_nothing_is_due_before_its_next_probe(answer: Answer) -> None:
    decision = decided(answer, open_until_ms=NOW + 90_000)
    assert isinstance(decision, Deferred | AwaitReceipt)
    assert decision.until_at_ms == NOW + 90_000


@pytest.mark.parametrize(
    ("refused", "decision"),
    [
        (Refused(C.TRANSIENT, "40008", "Undeliverable"), RetryAt(NOW + 1000, "40008", "Undeliverable")),
        (Refused(C.THROTTLED, "40018", "limit"), RetryAt(NOW + 60_000, "40018", "limit")),
        (Refused(C.RECIPIENT, "40001", "Not routable"), Dead(DeadReason.RECIPIENT, "40001", "Not routable")),
        (Refused(C.CONFIGURATION, "40010", "Unregistered"), Paused("40010", "Unregistered")),
        (Refused(C.UNKNOWN, "no-code", "none"), RetryAt(NOW + 60_000, "no-code", "none")),
    ],
)
def test_a_failed_delivery_is_decided_by_its_class_and_uses_up_an_attempt(
    refused: Refused, decision: AfterAnswer
) -> None:
    assert after_refusal(refused, attempt=1, now_ms=NOW, rng=RNG, policy=NO_JITTER) == decision
    last = after_refusal(refused, attempt=3, now_ms=NOW, rng=RNG, policy=NO_JITTER)
    assert isinstance(last, Dead | Paused)


answers = (
    st.builds(Accepted, st.text(), st.integers(1, 10))
    | st.builds(Unanswered, st.sampled_from(NoAnswer), st.text())
    | st.builds(Refused, st.sampled_from(C), st.text(), st.text(), st.booleans(), st.none() | st.floats())
)


@given(
    answers,
    st.integers(1, 9),
    st.integers(0, 10**6),
    st.none() | st.integers(0, 3_600_000),
    st.randoms(use_true_random=False),
)
def test_every_answer_has_a_decision_that_never_points_into_the_past(
    answer: Answer, attempt: int, failures: int, receipt_wait_ms: int | None, rng: random.Random
) -> None:
    decision = after_answer(
        answer,
        attempt=attempt,
        provider_failures=failures,
        now_ms=NOW,
        rng=rng,
        policy=NO_JITTER,
        receipt_wait_ms=receipt_wait_ms,
        open_until_ms=None,
    )
    assert isinstance(decision, Sent) == isinstance(answer, Accepted)
    if isinstance(decision, RetryAt):
        assert attempt < NO_JITTER.attempts
        assert NOW <= decision.due_at_ms <= NOW + 3_600_000
    if isinstance(decision, AwaitReceipt | Deferred):
        assert NOW <= decision.until_at_ms <= NOW + 3_600_000
