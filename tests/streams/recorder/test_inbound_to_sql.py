"""STOP and START by SMS: which numbers are opted out, whatever the order in which the answers are recorded."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from outbox import configuration
from schemas import messages as m
from schemas import topics as t
from tests.streams.recorder.test_outcomes_to_sql import people

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.streams.recorder.records import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


def inbound(text: str, at_ms: int, number: str = "+12025550101") -> m.InboundSms:
    return m.InboundSms(event_id=f"{text}-{at_ms}", phone_e164=number, occurred_at_ms=at_ms, text=text)


async def opted_out(world: World) -> dict[str, bool]:
    async with AsyncSession(world.engine) as session:
        found = await configuration.contacts(session, ["ada", "eve", "ben"])
    return {user: contact.sms_opted_out for user, contact in found.items()}


@pytest.mark.parametrize("order", list(itertools.permutations([("STOP", 1), ("START", 2), ("STOP", 3)])))
async def test_stop_and_start_count_by_the_providers_time_in_whatever_order_they_come(
    world: World, order: Sequence[tuple[str, int]]
) -> None:
    """Also a START that comes last and lies between two STOPs."""
    await people(world, "('ada', 'acme', 'Ada', '+12025550101'), ('ben', 'acme', 'Ben', '+12025550102')")
    for first, (word, at_s) in enumerate(order):
        await world.take(t.SMS_INBOUND, inbound(word, at_s * 1000), first=first)
    assert await opted_out(world) == {"ada": True, "ben": False}


async def test_a_start_after_the_stop_opts_in_again_and_tells_the_workers(world: World) -> None:
    await people(world, "('ada', 'acme', 'Ada', '+12025550101'), ('eve', 'acme', 'Eve', '+12025550101')")
    await world.take(t.SMS_INBOUND, inbound("STOP", 1_000), inbound("ACK 4821", 1_500))
    assert await opted_out(world) == {"ada": True, "eve": True}
    await world.take(t.SMS_INBOUND, inbound("unstop", 2_000), first=2)
    assert await opted_out(world) == {"ada": False, "eve": False}
    published = await world.rows("SELECT key, value FROM outbox WHERE topic = 'contacts' ORDER BY 1, sequence")
    said = [(key, msgspec.json.decode(value, type=m.Contact).sms_opted_out) for key, value in published]
    assert said == [("ada", True), ("ada", False), ("eve", True), ("eve", False)]


async def test_a_late_stop_before_the_newest_start_opts_nobody_out(world: World) -> None:
    await people(world, "('ada', 'acme', 'Ada', '+12025550101')")
    await world.take(t.SMS_INBOUND, inbound("START", 2_000))
    await world.take(t.SMS_INBOUND, inbound("STOP", 1_000), first=1)
    assert await opted_out(world) == {"ada": False}


async def test_a_stop_of_an_unknown_number_is_kept_for_whoever_adds_it(world: World) -> None:
    await world.take(t.SMS_INBOUND, inbound("STOP", 1_000))
    await people(world, "('ada', 'acme', 'Ada', '+12025550101')")
    assert await opted_out(world) == {"ada": True}
