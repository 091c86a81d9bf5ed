import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.notification import retry
from domain.notification.decisions import (
    AfterAnswer,
    AwaitReceipt,
    Dead,
    DeadReason,
    Deferred,
    OptedOut,
    PauseLane,
    RetryAt,
    Sent,
    Unreachable,
    after_answer,
    after_failed_delivery,
    attempt_id,
    no_receipt_came,
    sms_request_id,
    unreachable,
)
from domain.notification.error_class import ErrorClass
from domain.notification.sms_answers import Accepted, Answer, Refused, Silence, Unanswered
from schemas import messages as m
from streams.notifications.telnyx.codes import TABLE

NOW = 1_000_000
NO_JITTER = retry.RetryPolicy(attempts=3, back_off=retry.BackOff.EXPONENTIAL, base_s=1.0, jitter=0.0)
RNG = random.Random(1)


def decided(
    answer: Answer, attempt: int = 1, *, receipt_wait_s: float | None = 20.0, provider_down_until_ms: int | None = None
) -> AfterAnswer:
    return after_answer(
        answer,
        attempt=attempt,
        now_ms=NOW,
        rng=RNG,
        policy=NO_JITTER,
        receipt_wait_s=receipt_wait_s,
        provider_down_until_ms=provider_down_until_ms,
    )


@pytest.mark.parametrize(
    ("answer", "attempt", "decision"),
    [
        (Accepted("id", 2), 1, Sent("id", 2)),
        # exponential: 1 s, 2 s, and the third was the last
        (Refused("50000", "oh", 500), 1, RetryAt(NOW + 1000, "50000", "oh")),
        (Refused("50000", "oh", 500), 2, RetryAt(NOW + 2000, "50000", "oh")),
        (Refused("50000", "oh", 500), 3, Dead(DeadReason.EXHAUSTED, "50000", "oh", ops_told=True)),
        # the provider asks for more patience than ours
        (Refused("http-503", "oh", 503, 9.0), 1, RetryAt(NOW + 9000, "http-503", "oh")),
        # ... and for less
        (Refused("http-503", "oh", 503, 0.1), 1, RetryAt(NOW + 1000, "http-503", "oh")),
        # too fast: a minute, or what the provider says
        (Refused("10011", "oh", 429), 1, RetryAt(NOW + 60_000, "10011", "oh")),
        (Refused("10011", "oh", 429, 7.0), 2, RetryAt(NOW + 7000, "10011", "oh")),
        (Refused("http-429", "oh", 429, 0.0), 1, RetryAt(NOW, "http-429", "oh")),
        # fatal: tried once
        (Refused("40310", "oh", 422), 1, Dead(DeadReason.RECIPIENT, "40310", "oh")),
        (Refused("40311", "oh", 422), 1, Dead(DeadReason.RECIPIENT, "40311", "oh", ops_told=True)),
        (Refused("40302", "oh", 422), 1, Dead(DeadReason.MESSAGE, "40302", "oh", ops_told=True)),
        (Refused("40003", "oh", 422), 1, Dead(DeadReason.ASK_A_PERSON, "40003", "oh", ops_told=True)),
        # a refusal without words gets the table's
        (Refused("40310", "", 422), 1, Dead(DeadReason.RECIPIENT, "40310", "Invalid 'to' address")),
        # only the provider knew that they wrote STOP
        (Refused("40300", "oh", 422), 1, OptedOut(at_the_provider=True)),
        # our set-up: nothing is burnt, whatever the attempt
        (Refused("20100", "oh", 403), 3, PauseLane("20100", "oh")),
        # a code of tomorrow: once more after a minute, then a person
        (Refused("99999", "oh", 418), 1, RetryAt(NOW + 60_000, "99999", "oh")),
        (Refused("99999", "oh", 418), 2, Dead(DeadReason.EXHAUSTED, "99999", "oh", ops_told=True)),
        # never left: attempt times 5 s
        (Unanswered(Silence.NOT_CONNECTED), 1, RetryAt(NOW + 5000, "not_connected", "")),
        (Unanswered(Silence.NOT_CONNECTED), 2, RetryAt(NOW + 10_000, "not_connected", "")),
        (Unanswered(Silence.NOT_CONNECTED), 3, Dead(DeadReason.EXHAUSTED, "not_connected", "", ops_told=True)),
        # may have arrived: a receipt has 20 s
        (Unanswered(Silence.TIMEOUT, "x"), 1, AwaitReceipt(NOW + 20_000, last=False, error_code="timeout", error="x")),
        (
            Unanswered(Silence.CONNECTION_LOST, "x"),
            3,
            AwaitReceipt(NOW + 20_000, last=True, error_code="connection_lost", error="x"),
        ),
    ],
)
def test_what_follows_from_an_answer(answer: Answer, attempt: int, decision: AfterAnswer) -> None:
    assert decided(answer, attempt) == decision


@pytest.mark.parametrize(("attempt", "wait_ms"), [(1, 5000), (2, 10_000), (3, 15_000)])
def test_without_webhooks_a_timeout_waits_five_seconds_an_attempt(attempt: int, wait_ms: int) -> None:
    decision = decided(Unanswered(Silence.TIMEOUT), attempt, receipt_wait_s=None)
    assert isinstance(decision, AwaitReceipt)
    assert (decision.until_at_ms, decision.last) == (NOW + wait_ms, attempt == 3)


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        # it never left: it will, with all its attempts
        (Unanswered(Silence.NOT_CONNECTED), Deferred(NOW + 90_000, "not_connected", "")),
        (Refused("http-503", "oh", 503), Deferred(NOW + 90_000, "http-503", "oh")),
        # it may have arrived: wait for both, and it is never the last attempt
        (
            Unanswered(Silence.TIMEOUT),
            AwaitReceipt(NOW + 90_000, last=False, error_code="timeout", error="", uses_attempt=False),
        ),
        # an answer about this very message counts also now
        (Refused("40310", "oh", 422), Dead(DeadReason.RECIPIENT, "40310", "oh")),
        (Refused("40006", "oh", 422), Dead(DeadReason.EXHAUSTED, "40006", "oh", ops_told=True)),
        (Accepted("id", 1), Sent("id", 1)),
    ],
)
def test_while_the_provider_is_down_its_failures_use_up_no_attempt(answer: Answer, decision: AfterAnswer) -> None:
    assert decided(answer, 3, provider_down_until_ms=NOW + 90_000) == decision


def test_a_wait_without_a_receipt_ends_in_another_attempt_or_with_the_dead_letters() -> None:
    waited = AwaitReceipt(NOW + 20_000, last=False, error_code="timeout", error="x")
    assert no_receipt_came(waited, now_ms=NOW + 20_000) == RetryAt(NOW + 20_000, "timeout", "x")
    # found late, after an outage of ours
    assert no_receipt_came(waited, now_ms=NOW + 99_000) == RetryAt(NOW + 99_000, "timeout", "x")
    in_an_outage = AwaitReceipt(NOW + 20_000, last=False, error_code="timeout", error="x", uses_attempt=False)
    assert no_receipt_came(in_an_outage, now_ms=NOW) == Deferred(NOW + 20_000, "timeout", "x")
    last = AwaitReceipt(NOW + 20_000, last=True, error_code="timeout", error="x")
    assert no_receipt_came(last, now_ms=NOW + 20_000) == Dead(DeadReason.EXHAUSTED, "timeout", "x", ops_told=True)


@pytest.mark.parametrize(
    ("code", "decision"),
    [
        ("40008", RetryAt(NOW + 1000, "40008", "Undeliverable")),
        ("40001", Dead(DeadReason.RECIPIENT, "40001", "Not routable")),
        ("40010", PauseLane("40010", "Unregistered 10DLC message")),
        ("40011", RetryAt(NOW + 60_000, "40011", "Too many requests")),
        # a receipt that names no code
        ("", RetryAt(NOW + 60_000, "no-code", "an error without a row in our table")),
    ],
)
def test_a_failed_delivery_is_decided_by_its_code(code: str, decision: AfterAnswer) -> None:
    assert after_failed_delivery(code, attempt=1, now_ms=NOW, rng=RNG, policy=NO_JITTER) == decision


codes = st.sampled_from([row.code for row in TABLE]) | st.text(max_size=8)
answers = (
    st.builds(Accepted, st.text(), st.integers(1, 10))
    | st.builds(Unanswered, st.sampled_from(Silence), st.text())
    | st.builds(Refused, codes, st.text(), st.integers(300, 599), st.none() | st.floats())
)


@given(answers, st.integers(1, 9), st.integers(0), st.none() | st.floats(0, 3600), st.randoms(use_true_random=False))
def test_every_answer_has_a_decision_that_never_points_into_the_past(
    answer: Answer, attempt: int, seed: int, receipt_wait_s: float | None, rng: random.Random
) -> None:
    decision = after_answer(answer, attempt=attempt, now_ms=NOW, rng=rng, receipt_wait_s=receipt_wait_s)
    assert isinstance(decision, Sent) == isinstance(answer, Accepted)
    if isinstance(decision, RetryAt):
        assert attempt < retry.SMS.attempts
        assert NOW <= decision.due_at_ms <= NOW + 3_600_000
    if isinstance(decision, AwaitReceipt):
        assert decision.until_at_ms > NOW
        assert decision.last == (attempt >= retry.SMS.attempts)


@given(st.sampled_from([row for row in TABLE if row.error_class is ErrorClass.CONFIGURATION]), st.integers(1, 9))
def test_a_configuration_error_never_uses_up_an_attempt(row: tuple[str, ...], attempt: int) -> None:
    assert isinstance(decided(Refused(row[0], "", 403), attempt), PauseLane)


def contact(**changes: object) -> m.Contact:
    fields: dict[str, object] = {"user_id": "u", "organization_id": "o", "name": "n", "phone_e164": "+12025550123"}
    return m.Contact(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("who", "code"),
    [
        (contact(), None),
        (None, "no_contact"),
        (contact(phone_e164=None), "no_phone"),
        (contact(phone_e164="+12025"), "bad_phone"),
    ],
)
def test_who_cannot_be_texted(who: m.Contact | None, code: str | None) -> None:
    found: Unreachable | None = unreachable(who)
    assert (found.error_code if isinstance(found, Dead) else found) == code


def test_who_opted_out_is_not_texted_even_on_a_bad_number() -> None:
    assert unreachable(contact(sms_opted_out=True, phone_e164=None)) == OptedOut()


def test_the_reason_for_a_bad_number_does_not_repeat_the_number() -> None:
    found = unreachable(contact(phone_e164="+12025"))
    assert isinstance(found, Dead)
    assert "12025," not in found.error


def test_ids_are_the_same_for_the_same_and_differ_for_the_different() -> None:
    requests = {sms_request_id(alert, user, level) for alert in "ab" for user in "cd" for level in (1, 2)}
    assert len(requests) == 8
    assert sms_request_id("a", "c", 1) == sms_request_id("a", "c", 1)
    attempts = {
        attempt_id(request, attempt, redrive) for request in requests for attempt in (1, 2) for redrive in (0, 1)
    }
    assert len(attempts) == 32
