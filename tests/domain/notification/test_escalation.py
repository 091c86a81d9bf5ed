import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.notification.escalation import (
    UNNOTIFIED,
    End,
    Ended,
    Escalation,
    Level,
    NotDue,
    Remind,
    Times,
    begun,
    chain,
    delivered,
    ended,
    next_level,
    not_delivered,
    silenced,
    stepped,
)
from schemas import messages as m

CHAIN = (Level(1, ("ann", "bob")), Level(2, ("carl",)), Level(4, ("dora",)))
NEW = Escalation("a-1")
WAIT_MS = 15 * 60_000
TIMES = Times(WAIT_MS, None, None, 60_000)
CRITICAL = Times(WAIT_MS, 30 * 60_000, 4 * 3_600_000, 60_000)
BEGUN = Escalation("a-1", CHAIN[0], WAIT_MS)


def contact(user_id: str, level: int = 1, **changes: object) -> m.Contact:
    fields: dict[str, object] = {"organization_id": "o", "name": user_id, "escalation_level": level}
    return m.Contact(user_id=user_id, **(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("contacts", "levels"),
    [
        ([], ()),
        ([contact("b"), contact("a"), contact("c", 2)], (Level(1, ("a", "b")), Level(2, ("c",)))),
        # numbers may be left out
        ([contact("a", 3)], (Level(3, ("a",)),)),
        # off duty, or not told of warnings
        ([contact("a", on_duty=False), contact("b", 2, minimum_severity=m.Severity.CRITICAL)], ()),
    ],
)
def test_the_chain_of_an_organization(contacts: list[m.Contact], levels: tuple[Level, ...]) -> None:
    assert chain(contacts, m.Severity.WARNING) == levels


@pytest.mark.parametrize(
    ("present", "levels", "following"),
    [
        (CHAIN[0], CHAIN, CHAIN[1]),
        # a number is left out
        (CHAIN[1], CHAIN, CHAIN[2]),
        (CHAIN[2], CHAIN, None),
        # one level only: its people once more, as they are on duty now
        (CHAIN[0], (Level(1, ("eve",)),), Level(2, ("eve",))),
        (Level(2, ("eve",)), (Level(1, ("eve",)),), None),
        # nobody was told before: the chain's first, whatever its number
        (UNNOTIFIED, CHAIN[1:], CHAIN[1]),
        (UNNOTIFIED, (), None),
        # everybody went off duty meanwhile: better those who were told than nobody
        (CHAIN[0], (), Level(2, ("ann", "bob"))),
    ],
)
def test_who_is_next(present: Level, levels: tuple[Level, ...], following: Level | None) -> None:
    assert next_level(present, levels) == following


def test_the_first_level_is_told_at_the_beginning() -> None:
    assert begun(NEW, CHAIN, 0, TIMES) == (BEGUN, Remind(CHAIN[0], first=True))
    # nobody on duty at level 1: the next one does not wait for 15 minutes
    assert begun(NEW, CHAIN[1:], 0, TIMES)[1] == Remind(CHAIN[1], first=True)


def test_what_has_begun_or_ended_does_not_begin_anew() -> None:
    reminded, _ = stepped(BEGUN, CHAIN, WAIT_MS, TIMES)
    over, _ = stepped(Escalation("a-1", CHAIN[2], 0), CHAIN, 0, TIMES)
    for known in (BEGUN, reminded, over, ended(NEW, End.ACKNOWLEDGED), ended(BEGUN, End.RESOLVED)):
        assert begun(known, CHAIN, 2 * WAIT_MS, TIMES) == (known, NotDue())


def test_with_nobody_on_duty_it_waits_and_begins_when_somebody_comes() -> None:
    nobody, step = begun(NEW, (), 0, TIMES)
    assert step == Ended(End.NOBODY_ON_DUTY)
    assert nobody.next_at_ms == 60_000
    # Still nobody: that is said once.
    waiting, step = stepped(nobody, (), 60_000, TIMES)
    assert (step, waiting.next_at_ms) == (NotDue(), 120_000)
    begins, step = stepped(waiting, CHAIN, 120_000, TIMES)
    assert (step, begins.ended, begins.next_at_ms) == (Remind(CHAIN[0], first=True), None, 120_000 + WAIT_MS)
    assert begun(nobody, CHAIN, 0, TIMES) == (BEGUN, Remind(CHAIN[0], first=True))


def test_a_chain_that_nobody_answered_begins_again_while_a_critical_alert_fires() -> None:
    last = Escalation("a-1", CHAIN[-1], 0)
    over, step = stepped(last, CHAIN, 0, CRITICAL)
    assert (step, over.next_at_ms) == (Ended(End.CHAIN_ENDED), 30 * 60_000)
    again, step = stepped(over, CHAIN, 30 * 60_000, CRITICAL)
    assert step == Remind(CHAIN[0], round=1, again=End.CHAIN_ENDED)
    assert (again.ended, again.round, again.next_at_ms) == (None, 1, 45 * 60_000)
    assert stepped(again, CHAIN, 45 * 60_000, CRITICAL)[1] == Remind(CHAIN[1], round=1)
    # An acknowledgement counts at any time.
    assert stepped(ended(over, End.ACKNOWLEDGED), CHAIN, 30 * 60_000, CRITICAL)[1] == NotDue()


@pytest.mark.parametrize(
    "over",
    [
        Escalation("a-1", CHAIN[-1], 30 * 60_000, ended=End.CHAIN_ENDED),
        Escalation("a-1", CHAIN[0], ended=End.ACKNOWLEDGED, lapses_at_ms=30 * 60_000),
    ],
)
def test_a_chain_that_would_begin_again_with_nobody_on_duty_says_so_once_each_round(over: Escalation) -> None:
    waiting, step = stepped(over, (), 30 * 60_000, CRITICAL)
    assert (step, waiting.next_at_ms, waiting.round) == (Ended(End.NOBODY_ON_DUTY), 31 * 60_000, 1)
    waiting, step = stepped(waiting, (), 31 * 60_000, CRITICAL)
    assert (step, waiting.next_at_ms, waiting.round) == (NotDue(), 32 * 60_000, 1)
    begins, step = stepped(waiting, CHAIN, 32 * 60_000, CRITICAL)
    assert (step, begins.ended) == (Remind(CHAIN[0], first=True, round=1), None)
    # An acknowledgement counts meanwhile.
    taken = ended(waiting, End.ACKNOWLEDGED, 10**9)
    assert stepped(taken, CHAIN, 32 * 60_000, CRITICAL) == (taken, NotDue())


def test_an_acknowledgement_lapses_while_the_alert_goes_on() -> None:
    lapses_at_ms = 4 * 3_600_000
    taken = ended(BEGUN, End.ACKNOWLEDGED, lapses_at_ms)
    assert stepped(taken, CHAIN, lapses_at_ms - 1, CRITICAL) == (taken, NotDue())
    assert stepped(taken, CHAIN, lapses_at_ms, CRITICAL)[1] == Remind(CHAIN[0], round=1, again=End.ACKNOWLEDGED)
    over = ended(taken, End.RESOLVED)
    assert stepped(over, CHAIN, 10 * lapses_at_ms, CRITICAL) == (over, NotDue())


def test_only_a_critical_alert_pages_again_after_its_end() -> None:
    assert CRITICAL.of(m.Severity.CRITICAL) == CRITICAL
    assert CRITICAL.of(m.Severity.WARNING) == TIMES


def test_a_chain_that_begins_at_level_2_gets_its_reminder_too() -> None:
    upper = (Level(2, ("eve",)),)
    started, step = begun(NEW, upper, 0, CRITICAL)
    assert step == Remind(upper[0], first=True)
    reminded, step = stepped(started, upper, WAIT_MS, CRITICAL)
    assert step == Remind(Level(3, ("eve",)))
    over, step = stepped(reminded, upper, 2 * WAIT_MS, CRITICAL)
    assert step == Ended(End.CHAIN_ENDED)
    again, step = stepped(over, upper, over.next_at_ms or 0, CRITICAL)
    assert (step, again.round) == (Remind(upper[0], round=1, again=End.CHAIN_ENDED), 1)


def test_a_silence_puts_off_and_the_escalation_goes_on_after_it() -> None:
    until_ms = WAIT_MS + 5
    quiet = silenced(BEGUN, until_ms)
    assert quiet.next_at_ms == until_ms
    assert stepped(quiet, CHAIN, until_ms - 1, TIMES) == (quiet, NotDue())
    assert stepped(quiet, CHAIN, until_ms, TIMES)[1] == Remind(CHAIN[1])
    # a failed SMS makes the next level due at once, but not before the silence ends
    assert not_delivered(quiet, "ann", 1, 1).next_at_ms == until_ms
    # an end that comes before the step changes nothing
    assert silenced(BEGUN, 5).next_at_ms == WAIT_MS
    # the newest order counts
    assert silenced(quiet, 0).next_at_ms == WAIT_MS


def test_an_alert_that_begins_in_a_silence_tells_its_first_level_after_it() -> None:
    quiet, step = begun(silenced(NEW, 100), CHAIN, 0, TIMES)
    assert (step, quiet.next_at_ms) == (NotDue(), 100)
    told, step = stepped(quiet, CHAIN, 100, TIMES)
    assert (step, told.next_at_ms) == (Remind(CHAIN[0], first=True), 100 + WAIT_MS)


def test_nobody_answers_up_to_the_end_of_the_chain() -> None:
    escalation, told = BEGUN, []
    for number in range(1, 5):
        escalation, step = stepped(escalation, CHAIN, number * WAIT_MS, TIMES)
        told.append((step, escalation.next_at_ms))
    assert told == [
        (Remind(CHAIN[1]), 2 * WAIT_MS),
        (Remind(CHAIN[2]), 3 * WAIT_MS),
        (Ended(End.CHAIN_ENDED), None),
        (NotDue(), None),
    ]
    assert escalation.ended is End.CHAIN_ENDED


def test_a_timer_that_fires_early_or_twice_reminds_nobody() -> None:
    assert stepped(BEGUN, CHAIN, WAIT_MS - 1, TIMES) == (BEGUN, NotDue())
    once, _ = stepped(BEGUN, CHAIN, WAIT_MS, TIMES)
    assert stepped(once, CHAIN, WAIT_MS, TIMES) == (once, NotDue())


def test_a_timer_that_fires_late_gives_the_next_level_its_whole_time() -> None:
    late, step = stepped(BEGUN, CHAIN, 9 * WAIT_MS, TIMES)
    assert (step, late.due_at_ms) == (Remind(CHAIN[1]), 10 * WAIT_MS)


def test_an_acknowledgement_that_was_written_before_they_lapsed_pages_nobody() -> None:
    """Older states kept the time of the next step beside it."""
    old = msgspec.structs.replace(BEGUN, ended=End.ACKNOWLEDGED, due_at_ms=0)
    assert stepped(old, CHAIN, 10 * 24 * 3_600_000, CRITICAL) == (old, NotDue())


def test_an_acknowledgement_before_its_warning_was_known_does_not_lapse() -> None:
    """It was taken as if the alert were critical."""
    lapses_at_ms = 4 * 3_600_000
    taken = ended(NEW, End.ACKNOWLEDGED, lapses_at_ms)
    assert stepped(taken, CHAIN, lapses_at_ms, CRITICAL.of(m.Severity.WARNING))[1] == NotDue()


@pytest.mark.parametrize("why", [End.ACKNOWLEDGED, End.RESOLVED])
def test_an_acknowledgement_or_the_alerts_end_cancels(why: End) -> None:
    cancelled = ended(BEGUN, why)
    assert stepped(cancelled, CHAIN, 10 * WAIT_MS, TIMES) == (cancelled, NotDue())
    # ... also against news of a failed SMS that comes later
    assert not_delivered(cancelled, "ann", 1, 5) == cancelled
    assert ended(cancelled, End.CHAIN_ENDED).ended is why


def test_the_most_final_reason_stays() -> None:
    assert ended(ended(BEGUN, End.CHAIN_ENDED), End.ACKNOWLEDGED).ended is End.ACKNOWLEDGED
    assert ended(ended(BEGUN, End.ACKNOWLEDGED), End.RESOLVED).ended is End.RESOLVED
    assert ended(ended(BEGUN, End.RESOLVED), End.ACKNOWLEDGED).ended is End.RESOLVED


@pytest.mark.parametrize(
    ("news", "due_at_ms"),
    [
        # nobody has it: at once
        ([("undelivered", "ann", 1)], 1000),
        ([("undelivered", "ann", 1), ("undelivered", "bob", 1)], 1000),
        # the other has it on the phone: the clock goes on
        ([("delivered", "bob", 1), ("undelivered", "ann", 1)], WAIT_MS),
        # ... and then it turns out that not
        ([("delivered", "bob", 1), ("undelivered", "ann", 1), ("undelivered", "bob", 1)], 1000),
        # news of another level or another person
        ([("undelivered", "ann", 2)], WAIT_MS),
        ([("undelivered", "carl", 1)], WAIT_MS),
        ([("delivered", "carl", 1), ("undelivered", "ann", 1)], 1000),
    ],
)
def test_a_failed_sms_does_not_wait_unless_somebody_has_the_alert(
    news: list[tuple[str, str, int]], due_at_ms: int
) -> None:
    escalation = BEGUN
    for kind, user_id, level in news:
        if kind == "undelivered":
            escalation = not_delivered(escalation, user_id, level, 1000)
        else:
            escalation = delivered(escalation, user_id, level)
    assert escalation.due_at_ms == due_at_ms


def test_a_failed_sms_after_the_due_time_does_not_put_it_off() -> None:
    assert not_delivered(BEGUN, "ann", 1, 2 * WAIT_MS).due_at_ms == WAIT_MS


@pytest.mark.parametrize("events", list(itertools.permutations(("acknowledge", "timer", "undelivered"))))
def test_no_reminder_follows_an_acknowledgement_in_any_order(events: tuple[str, ...]) -> None:
    escalation, acknowledged, reminded_after = BEGUN, False, False
    for event in events:
        if event == "acknowledge":
            escalation, acknowledged = ended(escalation, End.ACKNOWLEDGED), True
        elif event == "undelivered":
            escalation = not_delivered(escalation, "ann", 1, WAIT_MS)
        else:
            escalation, step = stepped(escalation, CHAIN, WAIT_MS, TIMES)
            reminded_after |= acknowledged and isinstance(step, Remind)
    assert not reminded_after


chains = st.dictionaries(st.integers(1, 6), st.frozensets(st.sampled_from("abcdef"), min_size=1)).map(
    lambda levels: tuple(Level(number, tuple(sorted(users))) for number, users in sorted(levels.items()))
)
events = st.lists(
    st.tuples(
        st.sampled_from(["undelivered", "delivered", "silence", "timer"]),
        st.sampled_from("abcdef"),
        st.integers(0, WAIT_MS),
    )
)


@settings(deadline=None)
@given(st.lists(chains, min_size=1, max_size=5), events)
def test_levels_only_rise_and_every_chain_ends(
    duties: list[tuple[Level, ...]], happened: list[tuple[str, str, int]]
) -> None:
    """Whatever is delivered or missed, and whoever goes on and off duty."""
    escalation, _ = begun(NEW, duties[0], 0, TIMES)
    now_ms = 0
    for number, (event, user_id, later_ms) in enumerate(happened):
        now_ms += later_ms
        before = escalation.level.number
        if event == "undelivered":
            escalation = not_delivered(escalation, user_id, before, now_ms)
        elif event == "delivered":
            escalation = delivered(escalation, user_id, before)
        elif event == "silence":
            escalation = silenced(escalation, now_ms + later_ms)
        else:
            escalation, step = stepped(escalation, duties[number % len(duties)], now_ms, TIMES)
            assert isinstance(step, Remind) == (escalation.level.number > before)
        assert (escalation.next_at_ms or 0) <= now_ms + WAIT_MS
    for _ in range(8):
        escalation, _ = stepped(escalation, duties[-1], escalation.next_at_ms or now_ms, TIMES)
    assert escalation.ended in (End.CHAIN_ENDED, End.NOBODY_ON_DUTY)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(escalation), type=Escalation) == escalation
