"""One job for all who want the same: made once, waits for the recorder, one mail each, tried twice."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

import pytest
from sqlalchemy.exc import DBAPIError

from domain.digest.jobs import SETTLED_AFTER_MS
from schemas import messages as m
from streams.digests.store import RENDERED_AT_MOST, RenderedCache
from streams.engine.consumer import Stale
from streams.engine.database_away import is_away
from tests.streams.digests.mail_world import RENDERED, World
from tests.streams.fakes import NOW_MS, FakeBatch

RUN_ON = datetime.fromtimestamp(NOW_MS / 1000, UTC).date().isoformat()


def wanted(user_id: str = "ann", **changes: object) -> m.DigestWanted:
    fields: dict[str, object] = {
        "digest_id": f"digest-{user_id}",
        "organization_id": "org-1",
        "user_id": user_id,
        "cadence": m.Cadence.DAILY,
        "timezone": "UTC",
        "run_on": RUN_ON,
        "due_at_ms": NOW_MS,
    }
    return m.DigestWanted(**(fields | changes))  # type: ignore[arg-type]


def requests(world: World) -> list[m.EmailRequest]:
    return world.broker.decoded("email-requests", m.EmailRequest)


def test_all_who_want_the_same_get_one_job_and_a_mail_each_in_their_unit() -> None:
    world = World()
    world.make(wanted("ann"), wanted("bob", display_unit="F"), wanted("ann"), wanted("eve"))
    assert len(world.store.made) == 1
    asked = requests(world)
    assert [(one.user_id, one.display_unit, one.request_id) for one in asked] == [
        ("ann", "C", "digest-ann"),
        ("bob", "F", "digest-bob"),
        ("eve", "C", "digest-eve"),
    ]
    assert len({one.job_id for one in asked}) == 1
    assert {unit for job, unit in world.store.kept if job == asked[0].job_id} == {"C", "F"}
    assert world.progress() == ["counted"] * 3 + ["rendered"] * 3 + ["queued"] * 3


def test_those_who_come_later_and_a_batch_that_is_read_again_find_the_numbers_made() -> None:
    world = World()
    world.make(wanted("ann"))
    world.make(wanted("ann"), wanted("bob"))
    assert len(world.store.made) == 1
    assert [one.request_id for one in requests(world)] == ["digest-ann", "digest-ann", "digest-bob"]


@pytest.mark.parametrize(
    "other",
    [
        {"organization_id": "org-2"},
        {"timezone": "Asia/Kolkata"},
        {"due_at_ms": NOW_MS + 3_600_000},
        {"cadence": m.Cadence.MONTHLY},
        {"asked_for": True},
        {"unit_ids": ("unit-1",)},
    ],
)
def test_whoever_wants_something_else_has_another_job(other: dict[str, object]) -> None:
    world = World()
    world.make(wanted("ann"), wanted("bob", **other))
    assert len(world.store.made) == 2


def test_it_waits_until_the_period_is_recorded_and_says_so() -> None:
    world = World(wait_s=3_600)
    midnight_ms = NOW_MS - NOW_MS % 86_400_000
    world.store.recorded_until = midnight_ms + SETTLED_AFTER_MS - 1
    job_sleep = world.waiting.sleep

    async def sleep(seconds: float) -> None:
        await job_sleep(seconds)
        if world.slept_s >= 10:
            world.store.recorded_until += 1

    world.waiting.sleep = sleep
    world.make(wanted())
    ((_, readiness),) = world.store.made
    assert readiness.complete
    assert 10_000 <= readiness.waited_ms <= 11_000
    assert world.progress() == ["waiting", "counted", "rendered", "queued"]


def test_after_the_limit_it_goes_out_with_what_there_is() -> None:
    world = World(wait_s=60)
    world.store.recorded_until = 5
    world.make(wanted())
    ((_, readiness),) = world.store.made
    assert (readiness.complete, readiness.recorded_until_ms, readiness.waited_ms) == (False, 5, 60_000)
    assert len(requests(world)) == 1
    assert world.counters.incomplete == 1


def test_one_that_is_wanted_long_after_it_was_due_waits_all_the_same() -> None:
    world = World(wait_s=60)
    world.store.recorded_until = 5
    world.make(wanted(due_at_ms=NOW_MS - 86_400_000))
    assert 59 <= world.slept_s <= 61


def test_a_person_who_asked_for_it_waits_for_some_seconds_only() -> None:
    world = World(wait_s=600)
    world.store.recorded_until = 5
    world.make(wanted(asked_for=True))
    assert 14 <= world.slept_s <= 16


def test_what_fails_is_tried_again_after_five_seconds() -> None:
    world = World()
    world.store.errors = [ValueError("no chart")]
    world.make(wanted())
    assert world.slept_s == pytest.approx(5.0)
    assert len(requests(world)) == 1


def test_what_fails_twice_is_a_dead_letter_for_each_and_the_others_go_on() -> None:
    world = World()
    world.store.errors = [ValueError("no chart"), ValueError("no chart")]
    world.make(wanted("ann"), wanted("bob"), wanted("eve", organization_id="org-2"))
    letters = world.dead()
    assert all(isinstance(letter, m.DigestDeadLetter) for letter in letters)
    assert [(letter.request.user_id, letter.attempts) for letter in cast("list[m.DigestDeadLetter]", letters)] == [
        ("ann", 2),
        ("bob", 2),
    ]
    assert [one.user_id for one in requests(world)] == ["eve"]
    assert world.progress()[:2] == ["dead", "dead"]


def test_a_database_that_is_away_is_waited_for_however_long_and_uses_no_attempt() -> None:
    world = World()
    world.store.errors = [ConnectionRefusedError("away")] * 20
    world.make(wanted())
    assert world.slept_s == pytest.approx(60.0)
    assert len(requests(world)) == 1


def test_what_nobody_can_make_is_a_dead_letter() -> None:
    world = World()
    world.make(wanted(timezone="Mars/Olympus"), b"{", wanted("bob"))
    assert [type(letter) for letter in world.dead()] == [m.UnreadableRecord, m.DigestDeadLetter]
    assert [one.user_id for one in requests(world)] == ["bob"]


@pytest.mark.parametrize("how", ["ending", "lost"])
def test_a_wait_ends_when_the_partition_is_about_to_go(how: str) -> None:
    world = World(wait_s=600)
    world.store.recorded_until = 5
    batch = FakeBatch([wanted()])
    slept = world.waiting.sleep

    async def sleep(seconds: float) -> None:
        await slept(seconds)
        batch.ending, batch.ours = how == "ending", how != "lost"

    world.waiting.sleep = sleep
    with pytest.raises(Stale):
        world.make(batch=batch)
    assert requests(world) == []


def test_letters_in_memory_are_few() -> None:
    cache = RenderedCache()
    for number in range(RENDERED_AT_MOST + 3):
        cache.put(f"job-{number}", "C", RENDERED)
    assert cache.get("job-0", "C") is None
    assert cache.get(f"job-{RENDERED_AT_MOST + 2}", "C") is RENDERED


def test_only_a_database_that_cannot_be_reached_is_away() -> None:
    class Refusal(Exception):  # noqa: N818
        sqlstate = "42P01"

    assert is_away(ConnectionRefusedError())
    assert is_away(DBAPIError("SELECT", None, Exception("connection is closed")))
    assert not is_away(DBAPIError("SELECT", None, Refusal()))
    assert not is_away(ValueError("no chart"))


def test_a_job_of_the_far_future_holds_its_partition_no_longer_than_the_limit() -> None:
    world = World(wait_s=60.0)
    world.store.recorded_until = 0
    world.make(wanted(run_on="2090-01-02", due_at_ms=NOW_MS + 10**12))
    assert world.slept_s <= 61
