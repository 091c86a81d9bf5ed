"""Where one more unit, one more receipt or another round makes a difference."""

import pytest

from domain.notification.rate_limit import RESERVATION_MS, Free, Occupied, Window
from domain.notification.receipts import Arrived, Attempt, Delivered, ReceiptState, reported
from domain.notification.request_ids import sms_request_id
from domain.notification.sms_segments import Encoding, segments


@pytest.mark.parametrize(
    ("text", "encoding", "parts"),
    [
        ("a" * 160, Encoding.GSM7, 1),
        ("a" * 161, Encoding.GSM7, 2),
        ("a" * 306, Encoding.GSM7, 2),
        ("a" * 307, Encoding.GSM7, 3),
        ("\N{DEGREE SIGN}" * 70, Encoding.UTF16, 1),
        ("\N{DEGREE SIGN}" * 71, Encoding.UTF16, 2),
        ("\N{DEGREE SIGN}" * 134, Encoding.UTF16, 2),
        ("\N{DEGREE SIGN}" * 135, Encoding.UTF16, 3),
    ],
)
def test_an_sms_has_another_part_from_the_first_unit_that_does_not_fit(
    text: str, encoding: Encoding, parts: int
) -> None:
    found = segments(text)
    assert (found.encoding, found.parts) == (encoding, parts)


@pytest.mark.parametrize("status", ["queued", "sending", "sent", "delivered"])
def test_any_receipt_knows_better_than_the_guess_that_an_sms_never_arrived(status: str) -> None:
    guessed = Attempt("a-1", 0, ReceiptState.NOT_ARRIVED)
    after, effect = reported(guessed, status, "m-1")
    assert effect == (Delivered() if status == "delivered" else Arrived())
    assert after.state is not ReceiptState.NOT_ARRIVED


def test_the_first_round_of_a_chain_has_the_ids_from_before_there_were_rounds() -> None:
    assert sms_request_id("a", "c", 1) == sms_request_id("a", "c", 1, 0)
    assert len({sms_request_id("a", "c", 1, chain_round) for chain_round in range(4)}) == 4


def test_a_reservation_that_is_long_over_holds_nobody_back() -> None:
    window = Window().reserved("a", 1_000)
    ends_at_ms = 1_000 + RESERVATION_MS
    for now_ms, slot in ((ends_at_ms - 1, Occupied(ends_at_ms, "a")), (ends_at_ms, Free()), (9 * ends_at_ms, Free())):
        assert window.slot("b", now_ms, 900_000) == slot


def test_what_left_before_the_window_counts_no_more_against_the_cap() -> None:
    window = Window(left_at_ms=(1_000, 2_000, 500_000))
    assert window.cap_free_at_ms(2, 900_999, 900_000) == 902_000
    assert window.cap_free_at_ms(2, 902_000, 900_000) == 902_000
    assert window.cap_free_at_ms(2, 9_000_000, 900_000) == 9_000_000
