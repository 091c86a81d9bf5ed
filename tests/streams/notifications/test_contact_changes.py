"""Whoever was paged and is removed, opts out or gets another number has no page: the next one is asked at once."""

from __future__ import annotations

import msgspec
import pytest

from schemas import messages as m
from streams.notifications.contact_changes import ContactChanges
from tests.streams.notifications.escalation_world import (
    GOING_ON,
    WAIT_MS,
    World,
    acknowledge,
    contact,
    heard,
    missed,
    resolved,
    triggered,
)

pytestmark = pytest.mark.anyio


class Changing:
    """`ada` is paged first, then `carl`."""

    def __init__(self) -> None:
        self.world = World(contact("ada"), contact("carl", 2))
        self.changes = ContactChanges(
            self.world.table, self.world.contacts, self.world.broker.publish, lambda: self.world.now_ms
        )

    def change(self, user_id: str, **fields: object) -> None:
        entries = self.world.contacts._entries
        entries[user_id] = msgspec.structs.replace(entries[user_id], **fields)
        self.world.contacts.version += 1

    def remove(self, user_id: str) -> None:
        del self.world.contacts._entries[user_id]
        self.world.contacts.version += 1

    async def settle(self) -> list[m.PageUndelivered]:
        before = len(self.world.broker.values("escalations"))
        await self.changes.look()
        raw = self.world.broker.values("escalations")[before:]
        events = [msgspec.json.decode(value, type=m.PageUndelivered) for value in raw]
        if events:
            await self.world.handle(*events)
        return events


@pytest.mark.parametrize("delivered", [False, True])
@pytest.mark.parametrize("why", ["removed", "opted_out", "renumbered"])
async def test_the_next_person_is_asked_at_once_also_after_a_delivered_page(why: str, delivered: bool) -> None:
    it = Changing()
    await it.world.handle(triggered())
    if delivered:
        await it.world.handle(heard("ada"))
    assert await it.settle() == []
    match why:
        case "removed":
            it.remove("ada")
        case "opted_out":
            it.change("ada", sms_opted_out=True)
        case _:
            it.change("ada", phone_e164="+12025550109")
    assert [event.because for event in await it.settle()] == [why]
    assert it.world.notified() == [("ada", 1), ("carl", 2)]
    assert await it.settle() == []


async def test_the_only_person_is_paged_again_at_the_new_number() -> None:
    it = Changing()
    it.remove("carl")
    await it.world.handle(triggered())
    it.change("ada", phone_e164="+12025550109")
    await it.settle()
    assert it.world.notified() == [("ada", 1), ("ada", 2)]
    assert await it.settle() == []


async def test_off_duty_or_another_name_is_no_reason() -> None:
    it = Changing()
    await it.world.handle(triggered())
    it.change("ada", on_duty=False, name="Ada L.")
    assert await it.settle() == []


async def test_what_is_taken_on_or_over_asks_nobody() -> None:
    for news in (acknowledge(), resolved()):
        it = Changing()
        await it.world.handle(triggered())
        await it.world.handle(news)
        it.remove("ada")
        assert await it.settle() == []


async def test_a_change_while_no_worker_ran_is_found_by_the_next_one() -> None:
    it = Changing()
    await it.world.handle(triggered())
    it.change("ada", phone_e164="+12025550109")
    it.changes = ContactChanges(it.world.table, it.world.contacts, it.world.broker.publish, lambda: it.world.now_ms)
    assert [event.because for event in await it.settle()] == ["renumbered"]


@pytest.mark.parametrize("reached", [False, True])
async def test_whoever_comes_on_duty_after_a_chain_that_reached_nobody_is_asked_at_once(reached: bool) -> None:
    world = World(contact("ada"), times=GOING_ON)
    changes = ContactChanges(world.table, world.contacts, world.broker.publish, lambda: world.now_ms)
    await world.handle(triggered())
    await world.handle(missed("ada"))
    if reached:
        await world.later(WAIT_MS)
    else:
        await world.handle(missed("ada", 2))
    assert world.notified() == [("ada", 1), ("ada", 2)]
    await changes.look()
    world.staff(contact("ada"), contact("eve", 2), contact("joe", organization_id="org-2"))
    before = len(world.broker.values("escalations"))
    await changes.look()
    raw = world.broker.values("escalations")[before:]
    assert len(raw) == (0 if reached else 1)
    for value in raw * 2:
        await world.handle(msgspec.json.decode(value, type=m.EscalationDue))
    assert len(world.notified()) == (2 if reached else 3)
    if not reached:
        await world.handle(missed("ada"))
        assert world.notified()[-1] == ("eve", 2)


async def test_whoever_came_on_duty_before_a_chain_ended_with_nobody_reached_is_asked_at_once_too() -> None:
    world = World(contact("ada"), times=GOING_ON)
    await world.handle(triggered())
    await world.handle(missed("ada"))
    world.staff(contact("ada"), contact("eve"))
    await world.handle(missed("ada", 2))
    await world.later(0)
    assert world.notified()[2:] == [("ada", 1), ("eve", 1)]
