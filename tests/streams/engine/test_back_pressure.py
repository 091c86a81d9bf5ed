from __future__ import annotations

from streams.engine.back_pressure import Room


def test_a_full_topic_has_room_again_when_one_batch_is_finished() -> None:
    room = Room(2)
    room.took("sms-info")
    assert room.has_room("sms-info")
    room.took("sms-info")
    assert not room.has_room("sms-info")
    assert room.freed("sms-info")
    assert room.has_room("sms-info")
    assert not room.freed("sms-info")


def test_a_full_topic_leaves_room_for_another() -> None:
    room = Room(1)
    room.took("sms-info")
    assert room.has_room("sms-critical")
    assert room.under_way() == {"sms-info": 1}


def test_after_a_rebalance_every_topic_has_room() -> None:
    room = Room(1)
    room.took("sms-info")
    room.clear()
    assert room.has_room("sms-info")
