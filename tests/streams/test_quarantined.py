"""Each flow with a bug planted in it: the one record that hits it is set aside, the others have their effect once."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from domain.detection.threshold import settled
from domain.digest.plan import with_preference
from domain.notification.escalation import begun, ended, stepped
from schemas import messages as m
from streams.detection import readings_to_alerts_and_aggregates as detection
from streams.digests import preferences_to_runs
from streams.digests.mail.copies import Copies
from streams.notifications import alert_commands_to_sms, alerts_to_sms, escalations_to_sms
from streams.notifications.escalation_states import State
from streams.notifications.plans import Planner
from tests.domain.detection.records import record
from tests.streams.detection.detection_fakes import batch_of
from tests.streams.detection.test_readings_to_alerts_and_aggregates import Bench, unit
from tests.streams.digests import digest_worlds, mail_world
from tests.streams.fakes import NOW_MS, FakeBatch, FakeRecord
from tests.streams.notifications import escalation_world, sms_world
from tests.streams.planted import Kept, planted

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

replace = msgspec.structs.replace
POISON_C = 6.66


@pytest.mark.parametrize("bad", [0, 1, 7, 15])
async def test_detection(bad: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hot_and_cold = [(n, 9.0 if n % 4 else 5.0) for n in range(16)]
    records = [record("u", [(n, POISON_C if n == bad else c)], n) for n, c in hot_and_cold]
    without = Bench(unit())
    await without.handle(*(one for one in records if one.offset != bad))

    hits = planted(settled, lambda _watch, _state, run, _now: POISON_C in run.temperatures)
    monkeypatch.setattr(detection, "settled", hits)
    bench = Bench(unit())
    kept = Kept(tmp_path, bench.detection.handle)
    await kept.handle(batch_of(records))

    assert kept.offsets == [bad]
    assert [alert.alert_id for alert in bench.alerts()] == [alert.alert_id for alert in without.alerts()]
    assert bench.table == without.table
    assert bench.rows.values == without.rows.values


def alert(number: int) -> m.AlertTriggered:
    return replace(escalation_world.triggered(), alert_id=f"alert-{number}")


def states(world: escalation_world.World) -> dict[bytes, State]:
    """Without traces, which are random, and how often each was written: what is handled again is written again."""
    decoded = {key: msgspec.msgpack.decode(raw, type=State) for key, raw in world.table.rows.items()}
    return {key: replace(state, version=0, trace=b"") for key, state in decoded.items()}


async def test_alerts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts_to_sms, "begun", planted(begun, lambda one, *_: one.alert_id == "alert-2"))
    world, without = escalation_world.World(), escalation_world.World()
    kept = Kept(tmp_path, world._alerts.handle)
    await kept.handle(FakeBatch(map(alert, range(5)), topic="alerts"))
    await without.handle(*(alert(number) for number in (0, 1, 3, 4)))
    assert kept.offsets == [2]
    assert {r.request_id for r in world.requests()} == {r.request_id for r in without.requests()}
    assert states(world) == states(without)
    assert world.timer_table.rows.keys() == without.timer_table.rows.keys()


async def test_alert_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_commands_to_sms, "ended", planted(ended, lambda one, *_: one.alert_id == "alert-2"))
    world, without = escalation_world.World(), escalation_world.World()
    commands = [replace(escalation_world.acknowledge(), alert_id=f"alert-{number}") for number in range(5)]
    kept = Kept(tmp_path, world._commands.handle)
    await kept.handle(FakeBatch(commands, topic="alert-commands"))
    await without.handle(*(command for number, command in enumerate(commands) if number != 2))
    assert kept.offsets == [2]
    assert states(world) == states(without)


async def test_escalations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, without = escalation_world.World(), escalation_world.World()
    missed = [replace(escalation_world.missed("ada"), alert_id=f"alert-{number}") for number in range(5)]
    for one in (world, without):
        await one.handle(*map(alert, range(5)))
    monkeypatch.setattr(escalations_to_sms, "stepped", planted(stepped, lambda one, *_: one.alert_id == "alert-2"))
    kept = Kept(tmp_path, world._escalations.handle)
    await kept.handle(FakeBatch(missed, topic="escalations"))
    await without.handle(*(event for number, event in enumerate(missed) if number != 2))
    assert kept.offsets == [2]
    assert {r.request_id for r in world.requests()} == {r.request_id for r in without.requests()}
    assert states(world) == states(without)


@pytest.mark.parametrize("place", ["_start", "_act"])
async def test_sms_lanes(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def hits(_planner: object, _batch: object, request: m.SmsRequest, _now_ms: int) -> bool:
        # A message is planned twice: when its turn comes, and when it is sent.
        calls.append(request.request_id)
        return request.request_id == "request-3" and (place == "_start" or calls.count("request-3") % 2 == 0)

    monkeypatch.setattr(Planner, "plan", planted(Planner.plan, hits))
    world = sms_world.World(people=[replace(sms_world.ADA, user_id=f"user-{number}") for number in range(1, 7)])
    requests = [sms_world.request(number, f"user-{number}", text=f"Page {number}") for number in range(1, 7)]
    kept = Kept(tmp_path, world.feed)
    async with world.sending():
        await kept.handle(FakeBatch(requests))
    assert kept.offsets == [2]
    assert len(world.texts) == len(set(world.texts))
    assert "request-3" not in {one.request.request_id for one in world.retries()}
    assert {number for number in range(1, 7) if world.outcomes_of(number)} == {1, 2, 4, 5, 6}


async def test_digest_preferences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hits = planted(with_preference, lambda _plan, preference, *_: preference.user_id == "user-2")
    monkeypatch.setattr(preferences_to_runs, "with_preference", hits)
    world = digest_worlds.World(random.Random(1), NOW_MS)
    kept = Kept(tmp_path, world.take_preferences)
    users = [f"user-{number}" for number in range(5)]
    batch = FakeBatch([])
    batch.records = [
        FakeRecord(m.encode(m.DigestPreference(user_id=user, organization_id="acme")), user.encode(), offset)
        for offset, user in enumerate(users)
    ]
    await kept.handle(batch)
    assert kept.offsets == [2]
    assert set(world.plans.rows) == {user.encode() for user in users if user != "user-2"}
    assert not any("user-2" in timer_id for timer_id in world.timers.rows)


async def test_email_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Copies.make

    async def fails(copies: Copies, request: m.EmailRequest) -> Any:
        planted(lambda _: None, lambda one: one.request_id == "digest-2")(request)
        return await make(copies, request)

    monkeypatch.setattr(Copies, "make", fails)
    world = mail_world.World()
    kept = Kept(tmp_path, world.mailing.handle)
    await kept.handle(
        FakeBatch([mail_world.mail_request(request_id=f"digest-{n}") for n in range(5)], topic="email-requests")
    )
    assert kept.offsets == [2]
    # Four mails, each once, although batches of them were handled several times.
    assert world.outcomes().count("EmailSent") == len(world.provider.got) == 4
