import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.notification.answers import Accepted, Answer, NoAnswer, Refused, Unanswered
from domain.notification.circuit_breaker import (
    FAILURES_IN_A_ROW,
    FIRST_PROBE_MS,
    LONGEST_PROBE_MS,
    Cause,
    CircuitBreaker,
    Go,
    Hold,
    Probe,
    State,
)
from domain.notification.decisions import Deferred, Sent
from domain.notification.error_class import ErrorClass
from domain.notification.retry import BackOff, RetryPolicy
from domain.notification.retry_decision import after_answer

OK = Accepted("m", 1)
DOWN = Refused(ErrorClass.UNAVAILABLE, "http-503", "Service Unavailable")
SILENT = Unanswered(NoAnswer.TIMEOUT, "no answer within 10 s")
AWAY = Unanswered(NoAnswer.NOT_CONNECTED, "ConnectError")
BROKE = Refused(ErrorClass.CONFIGURATION, "20100", "Insufficient Funds")
POLICY = RetryPolicy(attempts=3, back_off=BackOff.EXPONENTIAL, base_s=1.0)


def after(*answers: Answer) -> CircuitBreaker:
    breaker = CircuitBreaker()
    for answer in answers:
        breaker = breaker.after(answer, 0)
    return breaker


@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        ([], None),
        ([OK], None),
        # our set-up is refused: the first time is enough
        ([BROKE], Cause.CONFIGURATION),
        # no connection: no message can cause that
        ([AWAY], Cause.PROVIDER_DOWN),
        # five failures in a row, of one contact or of many
        ([DOWN, SILENT] * 2, None),
        ([DOWN, SILENT, DOWN, DOWN, DOWN], Cause.PROVIDER_DOWN),
        # a success in between
        ([DOWN, DOWN, DOWN, DOWN, OK, DOWN], None),
        # ... and so is a rejection: the provider is at work
        ([DOWN, DOWN, DOWN, DOWN, Refused(ErrorClass.RECIPIENT, "40310"), DOWN], None),
        # too fast is not down
        ([Refused(ErrorClass.THROTTLED, "10011")] * 8, None),
        # the provider is back and refuses our key
        ([AWAY, BROKE], Cause.CONFIGURATION),
        # one answer closes the breaker
        ([AWAY, OK], None),
    ],
)
def test_when_sending_pauses(answers: list[Answer], cause: Cause | None) -> None:
    opened = after(*answers).opened
    assert (opened.cause if opened else None) is cause


def test_while_it_is_open_one_probe_at_a_time_is_let_through() -> None:
    breaker = after(AWAY)
    permits = []
    for now_ms in (0, FIRST_PROBE_MS - 1, FIRST_PROBE_MS, FIRST_PROBE_MS, FIRST_PROBE_MS * 3, 10**9, 10**9):
        breaker, permit = breaker.permit(now_ms)
        permits.append(permit)
    assert permits == [
        Hold(1_000),
        Hold(1_000),
        Probe(),
        Hold(3_000),
        Probe(),
        Probe(),
        Hold(10**9 + 8_000),
    ]


def test_it_is_closed_open_half_open_and_closed_again() -> None:
    states = [CircuitBreaker().state]
    breaker = after(AWAY)
    states.append(breaker.state)
    breaker, _ = breaker.permit(FIRST_PROBE_MS)
    states += [breaker.state, breaker.after(AWAY, 0).state, breaker.after(OK, 0).state]
    assert states == [State.CLOSED, State.OPEN, State.HALF_OPEN, State.OPEN, State.CLOSED]


def test_a_closed_breaker_lets_everything_through_and_stays_as_it_is() -> None:
    assert CircuitBreaker().permit(0) == (CircuitBreaker(), Go())


def test_probes_become_rarer_up_to_a_limit() -> None:
    breaker, now_ms, gaps_ms = after(AWAY), 0, []
    for _ in range(8):
        assert breaker.open_until_ms is not None
        gaps_ms.append(breaker.open_until_ms - now_ms)
        now_ms = breaker.open_until_ms
        breaker, permit = breaker.permit(now_ms)
        assert permit == Probe()
        breaker = breaker.after(AWAY, now_ms)
    assert gaps_ms == [1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000, LONGEST_PROBE_MS]


def test_it_keeps_its_beginning_while_it_is_open() -> None:
    breaker = CircuitBreaker().after(AWAY, 7).after(AWAY, 99).after(BROKE, 100)
    assert breaker.opened is not None
    assert breaker.opened.since_ms == 7


def run_through(outage_ms: int, messages: int, failure: Answer) -> int:
    """Messages while the provider is down for `outage_ms`: how late the last of them was sent after its end."""
    rng = random.Random(3)
    breaker = CircuitBreaker()
    waiting = [(0, 0, n) for n in range(messages)]
    sent = now_ms = 0
    while waiting:
        waiting.sort()
        due_ms, failures, message = waiting[0]
        now_ms = max(now_ms, due_ms)
        breaker, permit = breaker.permit(now_ms)
        if isinstance(permit, Hold):
            now_ms = permit.until_ms
            continue
        waiting.pop(0)
        answer = failure if now_ms < outage_ms else OK
        breaker = breaker.after(answer, now_ms)
        decision = after_answer(
            answer,
            attempt=1,
            provider_failures=failures,
            now_ms=now_ms,
            rng=rng,
            policy=POLICY,
            receipt_wait_ms=None,
            open_until_ms=breaker.open_until_ms,
        )
        match decision:
            case Sent():
                sent += 1
            case Deferred(until_at_ms):
                waiting.append((until_at_ms, failures + 1, message))
            case _:
                pytest.fail(f"unexpected: {decision}")
    assert sent == messages
    return now_ms - outage_ms


@pytest.mark.parametrize("failure", [AWAY, DOWN])
@pytest.mark.parametrize("messages", [1, FAILURES_IN_A_ROW, 200])
def test_ten_minutes_without_a_provider_lose_no_message_and_each_leaves_soon_after(
    failure: Answer, messages: int
) -> None:
    assert run_through(600_000, messages, failure) <= LONGEST_PROBE_MS


@given(st.lists(st.tuples(st.sampled_from([OK, DOWN, SILENT, AWAY, BROKE]), st.integers(0, 20_000)), max_size=40))
def test_an_open_breaker_always_lets_a_probe_through_within_its_longest_wait(steps: list[tuple[Answer, int]]) -> None:
    breaker, now_ms = CircuitBreaker(), 0
    for answer, passed_ms in steps:
        now_ms += passed_ms
        breaker, permit = breaker.permit(now_ms)
        if isinstance(permit, Hold):
            assert now_ms < permit.until_ms <= now_ms + LONGEST_PROBE_MS
        breaker = breaker.after(answer, now_ms)
    encoded = msgspec.msgpack.encode(breaker)
    assert msgspec.msgpack.decode(encoded, type=CircuitBreaker) == breaker
