"""What lists of dead letters and refusals say."""

import msgspec

from domain.redrive.dead_letters import KINDS, kind_of
from domain.redrive.reading_redrive import reading_facts
from domain.redrive.redrive import Refused, decide_rerun
from schemas import messages as m
from tests.domain.redrive.letters import NOW_MS, dead_reading, options, request


def test_a_request_under_way_is_refused_with_its_last_outcome() -> None:
    for outcome, said in ((None, "none yet"), ("retry_scheduled", "retry_scheduled")):
        refused = decide_rerun(request(), outcome, now_ms=NOW_MS, options=options())
        assert isinstance(refused, Refused)
        assert f"its last outcome is {said};" in refused.detail


def test_every_redrive_of_a_reading_was_one_more_attempt() -> None:
    found = [reading_facts(msgspec.structs.replace(dead_reading(b"x"), redrives=n)) for n in range(3)]
    assert [(facts.attempts, facts.redrives) for facts in found] == [(1, 0), (2, 1), (3, 2)]


def test_an_unreadable_record_belongs_to_the_topic_that_has_it() -> None:
    letter = m.UnreadableRecord(topic="alerts", partition=0, offset=1, at_ms=NOW_MS, detail="no JSON")
    names = [kind.topic.name for kind in KINDS if kind.carries is m.UnreadableRecord]
    assert len(names) > 1
    assert [kind_of(letter, name).topic.name for name in names] == names
    assert kind_of(letter).topic.name == kind_of(letter, "no such topic").topic.name == names[0]
