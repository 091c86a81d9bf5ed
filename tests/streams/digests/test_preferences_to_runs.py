"""Who is due a digest when: a year with a worker that keeps dying, outages, changes that count at once."""

import random
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta

import pytest

from domain.digest.plan import ms
from domain.digest.schedule import next_run
from schemas import messages as m
from tests.streams.digests.digest_worlds import World

ZONES = ("America/New_York", "America/Los_Angeles", "Asia/Kolkata", "Asia/Kathmandu", "Pacific/Chatham", "UTC")
DAY_MS = 86_400_000


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def world(begin: datetime, seed: str = "") -> World:
    return World(random.Random(seed), ms(begin))


def preference(user_id: str = "ann", **changes: object) -> m.DigestPreference:
    fields: dict[str, object] = {"user_id": user_id, "organization_id": "acme", "timezone": "America/New_York"}
    return m.DigestPreference(**(fields | changes))  # type: ignore[arg-type]


def run_dates(found: World, cadence: m.Cadence = m.Cadence.DAILY, user_id: str = "ann") -> list[str]:
    return [w.run_on for w in found.wanted() if w.cadence is cadence and w.user_id == user_id]


@pytest.mark.parametrize("seed", range(3))
def test_in_a_year_of_restarts_every_period_is_wanted_once(seed: int) -> None:
    begin, end = utc("2026-01-01T12:00:00+00:00"), utc("2027-01-01T12:00:00+00:00")
    of = world(begin, f"year {seed}")
    wanted = {
        f"user-{n}": preference(
            f"user-{n}", timezone=zone, hour=of.rng.choice((None, 0, 2, 7, 23)), cadences=[*m.Cadence]
        )
        for n, zone in enumerate(ZONES)
    }
    for user_id, prefers in wanted.items():
        of.prefer(user_id, prefers)
    while of.now_ms < ms(end):
        of.go_on_until(min(ms(end), of.now_ms + of.rng.randrange(DAY_MS, 9 * DAY_MS)), deadly=0.15)
        # A worker that is away for some hours: what fell due meanwhile comes late.
        of.now_ms = min(ms(end), of.now_ms + of.rng.randrange(6 * 3_600_000))
    of.go_on_until(of.now_ms)

    assert of.kills > 100
    found: defaultdict[tuple[str, m.Cadence], list[str]] = defaultdict(list)
    for one in of.wanted():
        found[one.user_id, one.cadence].append(one.run_on)
    for user_id, prefers in wanted.items():
        for cadence in m.Cadence:
            expected, at = [], begin
            while (run := next_run(cadence, prefers.timezone, prefers.hour, at)).at <= end:
                expected.append(run.period.until.isoformat())
                at = run.at
            assert found[user_id, cadence] == expected


def test_after_three_days_down_exactly_the_newest_missed_period_is_made_good() -> None:
    of = world(utc("2026-05-04T12:00:00-04:00"))
    of.prefer("ann", preference())
    of.go_on_until(ms(utc("2026-05-05T12:00:00-04:00")))
    of.now_ms = ms(utc("2026-05-08T12:00:00-04:00"))
    of.go_on_until(of.now_ms)
    assert run_dates(of) == ["2026-05-05", "2026-05-08"]
    of.go_on_until(ms(utc("2026-05-09T12:00:00-04:00")))
    assert run_dates(of) == ["2026-05-05", "2026-05-08", "2026-05-09"]


def test_a_preference_that_waited_three_days_for_its_worker_gets_one_digest() -> None:
    of = world(utc("2026-05-05T12:00:00-04:00"))
    made_at_ms = of.now_ms
    of.now_ms += 3 * DAY_MS
    late = of.now_ms
    of.now_ms = made_at_ms
    of.prefer("ann", preference())
    of.now_ms = late
    of.go_on_until(late)
    assert run_dates(of) == ["2026-05-08"]


def test_an_hour_that_moves_forward_brings_no_second_digest_and_one_that_moves_back_loses_none() -> None:
    of = world(utc("2026-05-04T12:00:00-04:00"))
    of.prefer("ann", preference(hour=7))
    of.go_on_until(ms(utc("2026-05-05T08:00:00-04:00")))
    of.prefer("ann", preference(hour=10))
    of.go_on_until(ms(utc("2026-05-06T08:00:00-04:00")))
    assert run_dates(of) == ["2026-05-05"]
    of.prefer("ann", preference(hour=7))
    of.go_on_until(of.now_ms)
    assert run_dates(of) == ["2026-05-05", "2026-05-06"]


@pytest.mark.parametrize("gone", [None, preference(paused=True), preference(cadences=(m.Cadence.MONTHLY,))])
def test_what_is_deleted_paused_or_left_out_stops_at_once(gone: m.DigestPreference | None) -> None:
    of = world(utc("2026-05-04T12:00:00-04:00"))
    of.prefer("ann", preference())
    of.go_on_until(ms(utc("2026-05-05T06:59:59-04:00")))
    of.prefer("ann", gone)
    of.go_on_until(ms(utc("2026-05-09T12:00:00-04:00")))
    assert run_dates(of) == []


def test_a_timer_that_fired_just_before_the_pause_sends_nothing() -> None:
    of = world(utc("2026-05-05T06:00:00-04:00"))
    of.prefer("ann", preference(paused=True))
    of.now_ms = ms(utc("2026-05-05T07:00:00-04:00"))
    of.ask(m.DigestDue(user_id="ann", cadence=m.Cadence.DAILY, due_at_ms=of.now_ms))
    assert run_dates(of) == []


def test_who_resumes_is_sent_nothing_of_the_pause() -> None:
    of = world(utc("2026-05-04T12:00:00-04:00"))
    of.prefer("ann", preference(paused=True))
    of.go_on_until(ms(utc("2026-05-07T12:00:00-04:00")))
    of.prefer("ann", preference())
    of.go_on_until(ms(utc("2026-05-08T12:00:00-04:00")))
    assert run_dates(of) == ["2026-05-08"]


def test_a_digest_that_is_asked_for_comes_beside_the_regular_one() -> None:
    of = world(utc("2026-05-04T12:00:00-04:00"))
    of.prefer("ann", preference())
    of.go_on_until(ms(utc("2026-05-05T05:00:00-04:00")))
    order = m.SendDigestNow(
        command_id="c-1",
        user_id="ann",
        organization_id="acme",
        cadence=m.Cadence.DAILY,
        timezone="America/New_York",
        requested_at_ms=of.now_ms,
    )
    of.ask(order)
    of.ask(order)
    of.go_on_until(ms(utc("2026-05-05T12:00:00-04:00")))
    # Both are of the 4th: it is over, though its digest is not due yet.
    assert [(w.run_on, w.asked_for) for w in of.wanted()] == [("2026-05-05", True), ("2026-05-05", False)]


def test_a_move_to_another_timezone_leaves_out_no_date_and_repeats_none() -> None:
    of = world(utc("2026-05-04T12:00:00-04:00"), "moves")
    for day in range(40):
        of.prefer("ann", preference(timezone=of.rng.choice(ZONES), hour=of.rng.choice((6, 7, 8))))
        of.go_on_until(ms(utc("2026-05-04T12:00:00-04:00")) + (day + 1) * DAY_MS)
    found = [date.fromisoformat(on) for on in run_dates(of)]
    assert found == [found[0] + timedelta(days=n) for n in range(len(found))]
    assert len(found) in (39, 40, 41)


def test_an_unknown_timezone_is_told_and_the_former_preference_stays() -> None:
    of = world(utc("2026-05-04T12:00:00-04:00"))
    of.prefer("ann", preference())
    of.prefer("ann", preference(timezone="Mars/Olympus"))
    of.go_on_until(ms(utc("2026-05-05T12:00:00-04:00")))
    assert [record.topic.name for record in of.published if record.topic.name == "email-dlq"] == ["email-dlq"]
    assert run_dates(of) == ["2026-05-05"]


def test_a_digest_of_some_units_says_so_whether_it_is_due_or_asked_for() -> None:
    of = world(utc("2026-05-04T12:00:00-04:00"))
    of.prefer("ann", preference(units={m.Cadence.DAILY: ("fridge", "cellar")}, hours={m.Cadence.DAILY: 5}))
    of.go_on_until(ms(utc("2026-05-05T05:00:00-04:00")))
    of.ask(
        m.SendDigestNow(
            command_id="c-1",
            user_id="ann",
            organization_id="acme",
            cadence=m.Cadence.DAILY,
            timezone="America/New_York",
            requested_at_ms=of.now_ms,
        )
    )
    assert [(w.asked_for, w.unit_ids) for w in of.wanted()] == [
        (False, ("cellar", "fridge")),
        (True, ("cellar", "fridge")),
    ]
