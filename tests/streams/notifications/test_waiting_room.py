"""The waiting room alone: whose turn it is, and what goes back when partitions go."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from schemas import messages as m
from streams.engine.consumer import Stale
from streams.notifications.job import Job
from streams.notifications.waiting_room import WaitingRoom
from tests.streams.fakes import FakeBatch
from tests.streams.notifications.sms_world import request

if TYPE_CHECKING:
    from streams.engine.consumer import Batch

pytestmark = pytest.mark.anyio


def jobs(*requests: m.SmsRequest) -> tuple[FakeBatch, list[Job]]:
    batch = FakeBatch(requests)
    made = [Job(cast("Batch", batch), record, one) for record, one in zip(batch.records, requests, strict=True)]
    return batch, made


async def test_critical_goes_first_and_a_user_has_one_message_under_way() -> None:
    room = WaitingRoom(lambda _: None)
    batch, made = jobs(request(1, severity=m.Severity.INFO), request(2), request(3, "user-2"))
    room.enter(cast("Batch", batch), made)
    turns = [room.next() for _ in range(3)]
    assert [turn.item.request.request_id for turn in turns if turn] == ["request-2", "request-3"]
    assert room.waiting() == {m.Severity.CRITICAL: 0, m.Severity.WARNING: 0, m.Severity.INFO: 1}
    assert turns[0] is not None
    room.done(turns[0])
    following = room.next()
    assert following is not None
    assert following.item.request.request_id == "request-1"


async def test_a_message_that_must_wait_for_another_turn_gets_one() -> None:
    room = WaitingRoom(lambda _: None)
    batch, made = jobs(request(1))
    room.enter(cast("Batch", batch), made)
    turn = room.next()
    assert turn is not None
    room.again(turn)
    again = room.next()
    assert again is not None
    assert again.item is turn.item


async def test_what_was_not_tried_of_a_partition_that_goes_is_given_back() -> None:
    room = WaitingRoom(lambda _: None)
    going, leaving = jobs(request(1))
    staying, kept = jobs(request(2, "user-2"))
    room.enter(cast("Batch", going), leaving)
    room.enter(cast("Batch", staying), kept)
    room.give_back()
    assert len(room) == 2
    going.ours = False
    room.give_back()
    assert len(room) == 1
    with pytest.raises(Stale):
        await leaving[0].settled
    assert not kept[0].settled.done()
