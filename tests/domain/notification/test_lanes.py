from collections import Counter, defaultdict
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from domain.notification.lanes import HOUR_MS, FairQueue, HourlyCap
from schemas.messages import SEVERITIES, Severity

CRITICAL, WARNING, INFO = SEVERITIES


class Sms(NamedTuple):
    number: int
    lane: Severity
    organization_id: str
    user_id: str


def filled(*waiting: tuple[Severity, str, str]) -> FairQueue[int]:
    turns: FairQueue[int] = FairQueue()
    for number, (lane, organization_id, user_id) in enumerate(waiting):
        turns.add(number, lane, organization_id, user_id)
    return turns


def served(turns: FairQueue[int]) -> list[int]:
    """The order in which everything goes out when one message is in flight at a time."""
    order = []
    while turn := turns.take():
        order.append(turn.item)
        turns.done(turn.user_id)
    return order


@pytest.mark.parametrize(
    ("waiting", "order"),
    [
        # the most urgent first, whenever it came
        ([(INFO, "o", "a"), (WARNING, "o", "b"), (CRITICAL, "o", "c")], [2, 1, 0]),
        # round by organization: a storm of one waits behind itself
        ([(INFO, "o", "a"), (INFO, "o", "b"), (INFO, "o", "c"), (INFO, "p", "d")], [0, 3, 1, 2]),
        # a user's messages in order
        ([(INFO, "o", "a"), (INFO, "o", "a"), (INFO, "o", "a")], [0, 1, 2]),
        # users of an organization in turn
        ([(INFO, "o", "a"), (INFO, "o", "a"), (INFO, "o", "b")], [0, 2, 1]),
        ([], []),
    ],
)
def test_the_order_of_turns(waiting: list[tuple[Severity, str, str]], order: list[int]) -> None:
    assert served(filled(*waiting)) == order


def test_a_user_with_a_message_in_flight_waits_in_every_lane() -> None:
    turns = filled((INFO, "o", "a"))
    assert turns.take() == (0, INFO, "o", "a")
    turns.add(1, CRITICAL, "o", "a")
    assert turns.take() is None
    turns.done("a")
    assert turns.take() == (1, CRITICAL, "o", "a")


def test_others_go_on_while_one_user_is_busy() -> None:
    turns = filled((CRITICAL, "o", "a"), (CRITICAL, "o", "a"), (INFO, "o", "b"))
    assert [turn.item for turn in (turns.take(), turns.take(), turns.take()) if turn] == [0, 2]


def test_what_was_not_tried_is_handed_back() -> None:
    turns = filled((CRITICAL, "o", "a"), (INFO, "o", "b"), (INFO, "o", "b"))
    turns.take()
    assert sorted(turns.drain()) == [1, 2]
    assert (len(turns), turns.take()) == (0, None)


def test_a_critical_message_overtakes_twenty_thousand() -> None:
    turns = filled(*((INFO, f"o{n % 7}", f"u{n % 500}") for n in range(20_000)))
    turns.add(-1, CRITICAL, "o", "c")
    turn = turns.take()
    assert turn is not None
    assert turn.item == -1
    assert turns.waiting(INFO) == 20_000


@settings(deadline=None)
@given(st.lists(st.tuples(st.just(INFO), st.sampled_from("opq"), st.integers(0, 9).map(str)), max_size=60))
def test_between_two_turns_of_an_organization_every_other_that_waits_has_one(
    waiting: list[tuple[Severity, str, str]],
) -> None:
    # A user is of one organization.
    waiting = [(lane, organization, organization + user) for lane, organization, user in waiting]
    left = Counter(organization for _, organization, _ in waiting)
    since: dict[str, set[str]] = {}
    for number in served(filled(*waiting)):
        organization = waiting[number][1]
        if organization in since:
            others = {name for name, count in left.items() if count and name != organization}
            assert others <= since[organization]
        left[organization] -= 1
        for seen in since.values():
            seen.add(organization)
        since[organization] = set()


class ManyInFlight(RuleBasedStateMachine):
    """Messages come, are taken and settled in any order; a plain list is the reference."""

    @initialize()
    def begin(self) -> None:
        self.turns: FairQueue[Sms] = FairQueue()
        self.waiting: list[Sms] = []
        self.in_flight: dict[str, Sms] = {}
        self.last: defaultdict[tuple[str, Severity], int] = defaultdict(lambda: -1)
        self.count = 0

    @rule(lane=st.sampled_from(SEVERITIES), organization=st.sampled_from("opq"), user=st.sampled_from("abcd"))
    def comes(self, lane: Severity, organization: str, user: str) -> None:
        self.count += 1
        sms = Sms(self.count, lane, organization, user)
        self.turns.add(sms, lane, organization, user)
        self.waiting.append(sms)

    @rule()
    def is_taken(self) -> None:
        possible = [s for s in self.waiting if s.user_id not in self.in_flight]
        turn = self.turns.take()
        if turn is None:
            assert not possible
            return
        sms = turn.item
        assert sms in possible
        assert sms.lane is min((s.lane for s in possible), key=SEVERITIES.index)
        same = [s for s in self.waiting if s[1:] == sms[1:]]
        assert sms == same[0]
        self.waiting.remove(sms)
        self.in_flight[sms.user_id] = sms

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def is_settled(self, data: st.DataObject) -> None:
        user_id = data.draw(st.sampled_from(sorted(self.in_flight)))
        del self.in_flight[user_id]
        self.turns.done(user_id)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert len(self.turns) == len(self.waiting)
        for lane in SEVERITIES:
            assert self.turns.waiting(lane) == sum(s.lane is lane for s in self.waiting)


TestManyInFlight = ManyInFlight.TestCase
TestManyInFlight.settings = settings(deadline=None)


def test_an_organization_at_its_cap_waits_until_an_hour_after_the_first_of_them() -> None:
    cap = HourlyCap().left(0).left(10)
    assert cap.free_at_ms(3, 20) == 20
    assert cap.free_at_ms(2, 20) == HOUR_MS
    assert cap.free_at_ms(1, 20) == HOUR_MS + 10
    # a full hour after the first
    assert cap.free_at_ms(2, HOUR_MS - 1) == HOUR_MS
    assert cap.free_at_ms(2, HOUR_MS) == HOUR_MS


def test_a_cap_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="hold back every alert"):
        HourlyCap().free_at_ms(0, 0)


@given(st.integers(1, 5), st.lists(st.integers(0, HOUR_MS // 2), max_size=30))
def test_no_hour_holds_more_than_the_cap(limit: int, gaps_ms: list[int]) -> None:
    cap, now_ms, left_ms = HourlyCap(), 0, list[int]()
    for gap_ms in gaps_ms:
        now_ms = cap.free_at_ms(limit, now_ms + gap_ms)
        cap = cap.left(now_ms)
        left_ms.append(now_ms)
    assert all(later - earlier >= HOUR_MS for earlier, later in zip(left_ms, left_ms[limit:], strict=False))
    assert len(cap.left_at_ms) <= limit
