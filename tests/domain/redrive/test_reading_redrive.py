"""Dead readings that are sent again: as they came, or just what was refused, and only where that may help."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from domain.redrive.redrive import Reason
from domain.redrive.redrive_record import RedriveRecord
from schemas import messages as m
from schemas.topics import READINGS
from tests.domain.redrive.letters import NOW_MS, batch, dead_reading, judged, redriven, refused


def test_a_record_of_an_unknown_unit_goes_back_as_it_came_under_its_units_key() -> None:
    value = b' {"unit_id":"u1", "readings":[{"at_ms":1,"temperature_c":5}]}'
    again = redriven(dead_reading(value, redrives=2))
    assert (again.topic, again.key, again.value) == (READINGS, "u1", value)
    assert (again.redrives, again.attempts) == (3, 3)
    assert again.message_id != redriven(dead_reading(value)).message_id


def test_of_a_record_that_was_partly_used_only_the_refused_readings_go_back() -> None:
    ahead = (m.Reading(NOW_MS + 60_000, 5.0),)
    again = redriven(dead_reading(batch((0, 4.0), (60, 5.0)), "future_time", readings=ahead))
    assert msgspec.json.decode(again.value, type=m.ReadingBatch) == m.ReadingBatch("u1", list(ahead))


@pytest.mark.parametrize(
    "dead",
    [
        dead_reading(None, "null_value"),
        dead_reading(b"{", "not_json"),
        dead_reading(b'{"readings":[]}', "wrong_shape"),
        dead_reading(batch((0, 4.0)), value_bytes=100_000),
        dead_reading(batch((0, 4.0)), value_base64="no base64"),
        dead_reading(batch((0, 4.0)), "future_time", readings=(m.Reading(NOW_MS, 5.0),) * 1_000),
        m.UnreadableRecord(topic="alerts", partition=0, offset=1, at_ms=NOW_MS, detail="truncated"),
    ],
)
def test_nothing_is_made_of_what_is_not_there_as_a_whole(dead: Any) -> None:
    refusal = refused(judged(dead, force=True))
    assert (refusal.reason, refusal.forcible) == (Reason.NOT_REDRIVABLE, False)
    assert any(way_out in refusal.detail for way_out in ("sender must", "writer must"))


@pytest.mark.parametrize("reason", ["impossible_temperature", "key_mismatch", "too_large", "impossible_time"])
def test_a_record_that_would_be_refused_again_takes_force(reason: str) -> None:
    dead = dead_reading(batch((0, 4.0)), reason)
    assert refused(judged(dead)).reason is Reason.WOULD_FAIL
    assert isinstance(judged(dead, force=True), RedriveRecord)


@pytest.mark.parametrize(("ahead_s", "goes"), [(300, True), (301, False)])
def test_a_reading_from_the_future_waits_until_its_time_has_come(ahead_s: int, *, goes: bool) -> None:
    whole = dead_reading(batch((ahead_s, 4.0)), "future_time")
    part = dead_reading(
        batch((0, 4.0), (ahead_s, 4.0)), "future_time", readings=(m.Reading(NOW_MS + ahead_s * 1000, 4.0),)
    )
    assert isinstance(judged(whole), RedriveRecord) == isinstance(judged(part), RedriveRecord) == goes
