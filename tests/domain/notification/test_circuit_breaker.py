import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.notification.circuit_breaker import (
    FAILURES_IN_A_ROW,
    FIRST_PROBE_MS,
    LONGEST_PROBE_MS,
    Cause,
    Go,
    Hold,
    Probe,
    Way,
)
from domain.notification.decisions import Dead, Deferred, RetryAt, Sent, after_answer
from domain.notification.sms_answers import Accepted, Answer, Refused, Silence, Unanswered

OK = Accepted("m", 1)
DOWN = Refused("http-503", "Service Unavailable", 503)
SILENT = Unanswered(Silence.TIMEOUT, "no answer within 10 s")
AWAY = Unanswered(Silence.NOT_CONNECTED, "ConnectError")
BROKE = Refused("20100", "Insufficient Funds", 403)


def after(*answers: tuple[Answer, str]) -> Way:
    way = Way()
    for answer, user_id in answers:
        way = way.after(answer, user_id, 0)
    return way


@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        ([], None),
        ([(OK, "a")], None),
        # our set-up is refused: the first time is enough
        ([(BROKE, "a")], Cause.CONFIGURATION),
        # no connection: no message can cause that
        ([(AWAY, "a")], Cause.PROVIDER_DOWN),
        # five failures in a row, of more than one person
        ([(DOWN, "a"), (SILENT, "b")] * 2, None),
        ([(DOWN, "a"), (SILENT, "b"), (DOWN, "a"), (DOWN, "a"), (DOWN, "a")], Cause.PROVIDER_DOWN),
        # one number that always fails holds back nobody
        ([(DOWN, "a")] * 50, None),
        # a success in between
        ([(DOWN, "a"), (DOWN, "b"), (DOWN, "c"), (DOWN, "d"), (OK, "e"), (DOWN, "f")], None),
        # ... and so is a refusal: the provider is at work
        ([(DOWN, "a"), (DOWN, "b"), (DOWN, "c"), (DOWN, "d"), (Refused("40310", "", 422), "e"), (DOWN, "f")], None),
        # too fast is not down
        ([(Refused("10011", "", 429), user) for user in "abcdefgh"], None),
        # the provider is back and refuses our key
        ([(AWAY, "a"), (BROKE, "b")], Cause.CONFIGURATION),
        # one answer opens the way
        ([(AWAY, "a"), (OK, "b")], None),
    ],
)
def test_when_sending_pauses(answers: list[tuple[Answer, str]], cause: Cause | None) -> None:
    pause = after(*answers).pause
    assert (pause.cause if pause else None) is cause


def test_while_it_pauses_one_probe_at_a_time_is_let_through() -> None:
    way = after((AWAY, "a"))
    permits = []
    for now_ms in (0, FIRST_PROBE_MS - 1, FIRST_PROBE_MS, FIRST_PROBE_MS, FIRST_PROBE_MS * 3, 10**9, 10**9):
        way, permit = way.permit(now_ms)
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


def test_an_open_way_lets_everything_through_and_stays_as_it_is() -> None:
    assert Way().permit(0) == (Way(), Go())


def test_probes_become_rarer_up_to_a_limit() -> None:
    way, now_ms, gaps_ms = after((AWAY, "a")), 0, []
    for _ in range(8):
        assert way.pause is not None
        gaps_ms.append(way.pause.probe_at_ms - now_ms)
        now_ms = way.pause.probe_at_ms
        way, permit = way.permit(now_ms)
        assert permit == Probe()
        way = way.after(AWAY, "a", now_ms)
    assert gaps_ms == [1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000, LONGEST_PROBE_MS]


def test_a_pause_keeps_its_beginning_while_it_lasts() -> None:
    way = Way().after(AWAY, "a", 7).after(AWAY, "b", 99).after(BROKE, "b", 100)
    assert way.pause is not None
    assert way.pause.since_ms == 7


def run_through(outage_ms: int, users: int, failure: Answer) -> tuple[int, int]:
    """Messages of `users` people while the provider is down for `outage_ms`: how many were sent, how many given up."""
    rng = random.Random(3)
    way = Way()
    waiting = [(n, 1, f"u{n}") for n in range(users)]
    sent = dead = now_ms = 0
    while waiting:
        waiting.sort()
        due_ms, attempt, user_id = waiting[0]
        now_ms = max(now_ms, due_ms)
        way, permit = way.permit(now_ms)
        if isinstance(permit, Hold):
            now_ms = permit.until_ms
            continue
        waiting.pop(0)
        answer = failure if now_ms < outage_ms else OK
        way = way.after(answer, user_id, now_ms)
        decision = after_answer(
            answer, attempt=attempt, now_ms=now_ms, rng=rng, provider_down_until_ms=way.down_until_ms
        )
        match decision:
            case Sent():
                sent += 1
            case RetryAt(due_at_ms):
                waiting.append((due_at_ms, attempt + 1, user_id))
            case Deferred(until_at_ms):
                waiting.append((until_at_ms, attempt, user_id))
            case Dead():
                dead += 1
            case _:
                pytest.fail(f"unexpected: {decision}")
    return sent, dead


@pytest.mark.parametrize(("failure", "users"), [(AWAY, 1), (AWAY, 200), (DOWN, FAILURES_IN_A_ROW), (DOWN, 200)])
def test_ten_minutes_without_a_provider_lose_no_message(failure: Answer, users: int) -> None:
    assert run_through(600_000, users, failure) == (users, 0)


@given(
    st.lists(
        st.tuples(st.sampled_from([OK, DOWN, SILENT, AWAY, BROKE]), st.sampled_from("ab"), st.integers(0, 20_000)),
        max_size=40,
    )
)
def test_a_pause_always_has_a_next_probe_within_fifteen_seconds(happened: list[tuple[Answer, str, int]]) -> None:
    way, now_ms = Way(), 0
    for answer, user_id, later_ms in happened:
        now_ms += later_ms
        way, permit = way.permit(now_ms)
        if isinstance(permit, Hold):
            assert now_ms < permit.until_ms <= now_ms + LONGEST_PROBE_MS
            continue
        way = way.after(answer, user_id, now_ms)
        if answer is OK:
            assert way == Way()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(way), type=Way) == way
