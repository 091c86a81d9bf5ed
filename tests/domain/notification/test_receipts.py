import itertools
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.notification.receipts import (
    ARRIVED,
    OPEN,
    POLL_AGAIN_MS,
    Arrived,
    Attempt,
    Delivered,
    DeliveryFailed,
    Effect,
    MaySendAgain,
    Nothing,
    PollStatus,
    ReceiptState,
    StaysUnknown,
    Waits,
    accepted,
    due_at_ms,
    knows,
    reported,
    unanswered,
    waited,
)

S = ReceiptState
RECEIPT_WAIT_MS = 20_000
FINAL_WAIT_MS = 300_000
WAITS = Waits(RECEIPT_WAIT_MS, FINAL_WAIT_MS)
FACTS = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "telnyx" / "facts.json"
STATUSES = (
    "queued",
    "sending",
    "sent",
    "expired",
    "sending_failed",
    "delivery_unconfirmed",
    "delivered",
    "delivery_failed",
)
LEFT = Attempt("a-1", 0)
ACCEPTED = accepted(LEFT, "m-1")


def in_state(state: ReceiptState) -> Attempt:
    return Attempt("a-1", 0, state, "m-1")


def test_every_status_is_known_and_no_other_word() -> None:
    assert all(map(knows, STATUSES))
    assert not knows("teleported")


def test_the_statuses_are_those_of_the_provider() -> None:
    if not FACTS.exists():
        pytest.skip("Telnyx's list of statuses does not lie beside the project.")
    assert set(json.loads(FACTS.read_text())["webhook"]["to_status"]) == set(STATUSES)


@pytest.mark.parametrize(
    ("state", "status", "after", "effect"),
    [
        # the usual way
        (S.ACCEPTED, "sent", S.ON_ITS_WAY, Nothing()),
        (S.ON_ITS_WAY, "delivered", S.DELIVERED, Delivered()),
        # the webhook is quicker than the answer to the request
        (S.SENDING, "sent", S.ON_ITS_WAY, Arrived()),
        (S.SENDING, "delivered", S.DELIVERED, Delivered()),
        # no answer came: a receipt proves that it arrived
        (S.UNKNOWN, "queued", S.ACCEPTED, Arrived()),
        (S.UNKNOWN, "sent", S.ON_ITS_WAY, Arrived()),
        # ... also when it comes after we gave up waiting
        (S.NOT_ARRIVED, "sent", S.ON_ITS_WAY, Arrived()),
        # failed
        (S.ACCEPTED, "sending_failed", S.FAILED, DeliveryFailed()),
        (S.ON_ITS_WAY, "delivery_failed", S.FAILED, DeliveryFailed()),
        (S.ACCEPTED, "expired", S.FAILED, DeliveryFailed()),
        # the carrier will not tell
        (S.ON_ITS_WAY, "delivery_unconfirmed", S.UNCONFIRMED, StaysUnknown()),
        (S.UNCONFIRMED, "delivered", S.DELIVERED, Delivered()),
        # overtaken or repeated
        (S.DELIVERED, "sent", S.DELIVERED, Nothing()),
        (S.DELIVERED, "delivered", S.DELIVERED, Nothing()),
        (S.DELIVERED, "delivery_failed", S.DELIVERED, Nothing()),
        (S.FAILED, "delivery_unconfirmed", S.FAILED, Nothing()),
        # the phone has it, whatever was said
        (S.FAILED, "delivered", S.DELIVERED, Delivered()),
        # a word of tomorrow
        (S.ACCEPTED, "teleported", S.ACCEPTED, Nothing()),
    ],
)
def test_what_a_receipt_changes(state: ReceiptState, status: str, after: ReceiptState, effect: Effect) -> None:
    attempt, found = reported(in_state(state), status, "m-1", "40008")
    assert (attempt.state, found) == (after, effect)


def test_a_receipt_brings_the_id_that_no_answer_brought() -> None:
    attempt, _ = reported(unanswered(LEFT), "sent", "m-7")
    assert attempt.provider_message_id == "m-7"


def test_an_answer_that_comes_after_a_receipt_takes_nothing_back() -> None:
    attempt, _ = reported(LEFT, "delivered", "m-1")
    assert accepted(attempt, "m-1").state is S.DELIVERED
    assert unanswered(attempt).state is S.DELIVERED


@pytest.mark.parametrize("attempt", [unanswered(LEFT), LEFT])
def test_an_attempt_without_an_answer_may_be_made_again_after_twenty_seconds(attempt: Attempt) -> None:
    """Whether its request timed out, or a crash left it behind."""
    assert waited(attempt, RECEIPT_WAIT_MS - 1, WAITS) == (attempt, Nothing())
    after, effect = waited(attempt, RECEIPT_WAIT_MS, WAITS)
    assert (after.state, effect) == (S.NOT_ARRIVED, MaySendAgain())
    assert waited(after, 10**9, WAITS) == (after, Nothing())


def test_without_a_final_receipt_the_provider_is_asked_and_then_it_stays_unknown() -> None:
    attempt, now_ms, effects = ACCEPTED, 0, list[Effect]()
    moments = []
    while attempt.state in OPEN:
        now_ms = due_at_ms(attempt, WAITS)
        attempt, effect = waited(attempt, now_ms, WAITS)
        effects.append(effect)
        moments.append(now_ms)
    assert effects == [PollStatus(), PollStatus(), PollStatus(), StaysUnknown()]
    assert moments == [FINAL_WAIT_MS + n * POLL_AGAIN_MS for n in range(4)]


def test_the_providers_answer_to_the_question_ends_the_wait() -> None:
    attempt, effect = waited(ACCEPTED, FINAL_WAIT_MS, WAITS)
    assert effect == PollStatus()
    attempt, effect = reported(attempt, "delivered")
    assert effect == Delivered()
    assert waited(attempt, 10**9, WAITS) == (attempt, Nothing())


def test_a_message_without_an_id_cannot_be_asked_for() -> None:
    attempt = msgspec.structs.replace(ACCEPTED, provider_message_id="")
    assert waited(attempt, FINAL_WAIT_MS, WAITS)[1] == StaysUnknown()


@pytest.mark.parametrize("answered", [True, False])
def test_receipts_in_any_order_end_in_the_same_standing(answered: bool) -> None:
    start = ACCEPTED if answered else unanswered(LEFT)
    for statuses in (("queued", "sent", "delivered"), ("sent", "delivery_failed"), ("sent", "delivery_unconfirmed")):
        ends = set()
        for order in itertools.permutations(statuses):
            attempt = start
            for status in order:
                attempt, _ = reported(attempt, status, "m-1", "40008")
            ends.add(attempt)
        assert len(ends) == 1


events = st.lists(st.sampled_from((*STATUSES, "accepted", "unanswered", "wait")), max_size=12)


@given(events)
def test_an_end_is_told_once_and_sending_again_never_follows_an_arrival(happened: list[str]) -> None:
    attempt, now_ms, effects = LEFT, 0, list[Effect]()
    for event in happened:
        if event == "accepted":
            attempt = accepted(attempt, "m-1")
        elif event == "unanswered":
            attempt = unanswered(attempt)
        else:
            now_ms += RECEIPT_WAIT_MS
            had_arrived = attempt.state in ARRIVED
            attempt, effect = waited(attempt, now_ms, WAITS) if event == "wait" else reported(attempt, event, "m-1")
            assert not (had_arrived and isinstance(effect, MaySendAgain | Arrived))
            effects.append(effect)
    for once in (Arrived(), Delivered(), DeliveryFailed(), MaySendAgain()):
        assert effects.count(once) <= 1
    encoded = msgspec.msgpack.encode(attempt)
    assert msgspec.msgpack.decode(encoded, type=Attempt) == attempt
