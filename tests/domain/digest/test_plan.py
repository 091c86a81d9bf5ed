"""What a plan makes of a preference: paused, changed, deleted."""

from datetime import UTC, datetime

import pytest

from domain.digest.plan import Plan, cadences, due, look_again_at_ms, ms, units_of, with_preference, with_sent
from schemas.messages import Cadence, DigestPreference

MADE_MS = ms(datetime(2026, 5, 4, 12, tzinfo=UTC))
NEXT_MORNING_MS = ms(datetime(2026, 5, 5, 7, tzinfo=UTC))


def preference(*, paused: bool = False) -> DigestPreference:
    return DigestPreference(user_id="ann", organization_id="org", paused=paused)


@pytest.mark.parametrize(("of", "sent"), [(None, ()), (preference(paused=True), ()), (preference(), (Cadence.DAILY,))])
def test_a_paused_or_missing_preference_sends_nothing(of: DigestPreference | None, sent: tuple[Cadence, ...]) -> None:
    assert cadences(of) == sent
    plan = with_preference(Plan(), of, 1, MADE_MS)
    assert set(plan.tracks) == set(sent)
    assert (look_again_at_ms(plan, Cadence.DAILY, MADE_MS) is None) is (not sent)
    assert (due(plan, Cadence.DAILY, NEXT_MORNING_MS) is None) is (not sent)


def test_what_was_sent_is_due_again_on_the_next_day_and_not_before() -> None:
    plan = with_preference(Plan(), preference(), 1, MADE_MS)
    assert look_again_at_ms(plan, Cadence.DAILY, MADE_MS) == NEXT_MORNING_MS
    assert look_again_at_ms(plan, Cadence.DAILY, NEXT_MORNING_MS + 5) == NEXT_MORNING_MS + 5
    run = due(plan, Cadence.DAILY, NEXT_MORNING_MS)
    assert run is not None
    sent = with_sent(plan, run)
    assert due(sent, Cadence.DAILY, NEXT_MORNING_MS) is None
    assert look_again_at_ms(sent, Cadence.DAILY, NEXT_MORNING_MS) == NEXT_MORNING_MS + 86_400_000


def test_who_resumes_the_same_day_is_not_sent_the_same_period_twice() -> None:
    plan = with_preference(Plan(), preference(), 1, MADE_MS)
    run = due(plan, Cadence.DAILY, NEXT_MORNING_MS)
    assert run is not None
    plan = with_preference(with_sent(plan, run), preference(paused=True), 2, NEXT_MORNING_MS + 1)
    resumed = with_preference(plan, preference(), 3, NEXT_MORNING_MS - 1)
    assert due(resumed, Cadence.DAILY, NEXT_MORNING_MS + 2) is None


def test_each_cadence_has_its_own_hour_and_units() -> None:
    of = DigestPreference(
        user_id="ann",
        organization_id="org",
        cadences=(Cadence.DAILY, Cadence.WEEKLY),
        hour=6,
        hours={Cadence.WEEKLY: 15},
        units={Cadence.DAILY: ("b", "a", "a")},
    )
    plan = with_preference(Plan(), of, 1, MADE_MS)
    assert look_again_at_ms(plan, Cadence.DAILY, MADE_MS) == ms(datetime(2026, 5, 5, 6, tzinfo=UTC))
    assert look_again_at_ms(plan, Cadence.WEEKLY, MADE_MS) == ms(datetime(2026, 5, 4, 15, tzinfo=UTC))
    run = due(plan, Cadence.WEEKLY, ms(datetime(2026, 5, 4, 15, tzinfo=UTC)))
    assert run is not None
    assert run.at == datetime(2026, 5, 4, 15, tzinfo=UTC)
    assert (units_of(of, Cadence.DAILY), units_of(of, Cadence.WEEKLY)) == (("a", "b"), ())
