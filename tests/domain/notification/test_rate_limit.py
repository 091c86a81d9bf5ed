import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from domain.notification.decisions import RateLimited
from domain.notification.rate_limit import RESERVATION_MS, Free, Held, Occupied, Slot, Window

WINDOW_MS = 15 * 60_000
MINUTE_MS = 60_000
SENT = Window().reserved("first", 0).sent("first", 0, WINDOW_MS)


@pytest.mark.parametrize(
    ("window", "now_ms", "slot"),
    [
        # nobody was texted
        (Window(), 0, Free()),
        # 14:59.999 after an SMS
        (SENT, 15 * MINUTE_MS - 1, RateLimited(15 * MINUTE_MS, "first")),
        # 15:00.000
        (SENT, 15 * MINUTE_MS, Free()),
        # across the border of a quarter of an hour: the window slides, it does not tumble
        (Window(sent_at_ms=14 * MINUTE_MS, sent_request_id="x"), 16 * MINUTE_MS, RateLimited(29 * MINUTE_MS, "x")),
        # in flight: its fate decides
        (Window().reserved("other", 0), 59_999, Occupied(60_000, "other")),
        # nobody settled it
        (Window().reserved("other", 0), 60_000, Free()),
        # its own reservation: it crashed in flight and runs again
        (Window().reserved("second", 0), 1, Free()),
        # it failed, and the slot is free
        (Window().reserved("other", 0).released("other"), 1, Free()),
        # somebody else's release changes nothing
        (Window().reserved("other", 0).released("third"), 1, Occupied(60_000, "other")),
        # accepted, then reported as failed: it was not really sent
        (SENT.not_delivered("first"), 1, Free()),
        (SENT.not_delivered("another"), 1, RateLimited(15 * MINUTE_MS, "first")),
        # a clock that went back does not open the window
        (SENT, -5000, RateLimited(15 * MINUTE_MS, "first")),
    ],
)
def test_whether_the_second_sms_may_go_out(window: Window, now_ms: int, slot: Slot) -> None:
    assert window.slot("second", now_ms, WINDOW_MS) == slot


def test_the_window_begins_when_the_provider_accepts_not_when_the_sms_was_due() -> None:
    window = Window().reserved("first", 0).sent("first", 9_000, WINDOW_MS)
    assert window.slot("second", 15 * MINUTE_MS, WINDOW_MS) == RateLimited(15 * MINUTE_MS + 9_000, "first")


def test_a_late_report_of_an_earlier_sms_does_not_shorten_the_window() -> None:
    window = Window().sent("second", 8_000, WINDOW_MS).sent("first", 3_000, WINDOW_MS)
    assert window.slot("third", 9_000, WINDOW_MS) == RateLimited(8_000 + WINDOW_MS, "second")


def test_an_own_window_length_counts() -> None:
    assert SENT.slot("second", 2_000, window_ms=2_000) == Free()


def test_what_is_held_back_waits_for_the_first_of_them_and_is_named_once() -> None:
    window = SENT.holding(Held("a", b"a"), 20_000).holding(Held("b", b"b"), 25_000).holding(Held("a", b"a"), 99_000)
    assert [held.request_id for held in window.held] == ["a", "b"]
    assert window.due_at_ms == 20_000
    assert window.named(frozenset({"a"})).held == (Held("b", b"b"),)
    assert window.named(frozenset("ab")).holding(Held("c", b"c"), 99_000).due_at_ms == 99_000


def test_the_cap_counts_what_left_in_any_window() -> None:
    window = Window()
    for minute in range(4):
        window = window.sent(f"r{minute}", minute * MINUTE_MS, WINDOW_MS)
    now_ms = 4 * MINUTE_MS
    assert window.cap_free_at_ms(5, now_ms, WINDOW_MS) == now_ms
    assert window.cap_free_at_ms(4, now_ms, WINDOW_MS) == WINDOW_MS
    assert window.cap_free_at_ms(4, WINDOW_MS, WINDOW_MS) == WINDOW_MS
    # One that did not arrive does not count.
    assert window.not_delivered("r3").cap_free_at_ms(4, now_ms, WINDOW_MS) == now_ms


@given(st.integers(0, 10**9), st.integers(0, 2 * WINDOW_MS))
def test_a_record_that_is_over_says_the_same_as_a_new_one(sent_at_ms: int, later_ms: int) -> None:
    window = Window().reserved("a", sent_at_ms).sent("a", sent_at_ms, WINDOW_MS)
    now_ms = sent_at_ms + later_ms
    assert window.is_over(now_ms, WINDOW_MS) == (
        window.slot("b", now_ms, WINDOW_MS) == Window().slot("b", now_ms, WINDOW_MS)
    )


def test_a_record_with_something_held_back_is_kept_for_the_roll_up() -> None:
    assert not SENT.holding(Held("a", b"a"), 0).is_over(10 * WINDOW_MS, WINDOW_MS)


class TwoWorkersOneSlot(RuleBasedStateMachine):
    """Requests of one user and kind in any order of sending, failing, crashing and waiting."""

    @initialize()
    def begin(self) -> None:
        self.now_ms = 0
        self.window = Window()
        self.in_flight: dict[str, int] = {}
        self.sent_at_ms: list[int] = []
        self.requests = 0

    @rule(ms=st.integers(0, WINDOW_MS) | st.sampled_from([1, RESERVATION_MS - 1, WINDOW_MS - 1, WINDOW_MS]))
    def time_passes(self, ms: int) -> None:
        # A request has a time limit far below a reservation's end, so none is in flight longer.
        if self.in_flight:
            ms = min(ms, max(min(self.in_flight.values()) + RESERVATION_MS - 1 - self.now_ms, 0))
        self.now_ms += ms

    @rule()
    def another_request_comes(self) -> None:
        self.requests += 1
        name = f"r{self.requests}"
        if self.window.slot(name, self.now_ms, WINDOW_MS) == Free():
            self.window = self.window.reserved(name, self.now_ms)
            self.in_flight[name] = self.now_ms

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def one_is_accepted(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.in_flight)))
        del self.in_flight[name]
        self.window = self.window.sent(name, self.now_ms, WINDOW_MS)
        self.sent_at_ms.append(self.now_ms)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def one_fails(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.in_flight)))
        del self.in_flight[name]
        self.window = self.window.released(name)

    @invariant()
    def at_most_one_is_in_flight(self) -> None:
        assert len(self.in_flight) <= 1

    @invariant()
    def no_two_were_sent_within_a_window(self) -> None:
        assert all(
            later - earlier >= WINDOW_MS for earlier, later in zip(self.sent_at_ms, self.sent_at_ms[1:], strict=False)
        )

    @invariant()
    def a_free_slot_was_not_used_for_a_window(self) -> None:
        if isinstance(self.window.slot("probe", self.now_ms, WINDOW_MS), RateLimited):
            assert self.now_ms < self.sent_at_ms[-1] + WINDOW_MS


TestTwoWorkersOneSlot = TwoWorkersOneSlot.TestCase
TestTwoWorkersOneSlot.settings = settings(deadline=None)
