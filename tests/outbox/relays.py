"""What tests of the relay share: a running relay, orders for it, and what came of them."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from database.engine import DatabaseSettings
from database.queues import OutboxRow
from outbox import writer
from outbox.relay import Relay
from schemas import messages as m
from schemas.topics import ALERT_COMMANDS
from tests.api.topic_records import records

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from broker.settings import KafkaSettings


KEYS = [f"unit-{number}" for number in range(7)]


def address_of(database: AsyncEngine) -> DatabaseSettings:
    return DatabaseSettings(url=database.url.render_as_string(hide_password=False))


async def idle() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def relaying(
    database: AsyncEngine, kafka: KafkaSettings, housekeeping: Callable[[], Awaitable[None]] | None = None
) -> AsyncIterator[Relay]:
    relay = Relay(address_of(database), kafka, housekeeping or idle)
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        relay.stop()
        await asyncio.wait_for(task, 15)


async def order(database: AsyncEngine, first: int, count: int) -> None:
    """Enqueue orders with ascending times, one transaction for each, over all keys in turn."""
    for number in range(first, first + count):
        key = KEYS[number % len(KEYS)]
        async with AsyncSession(database) as session, session.begin():
            await writer.publish_command(
                session,
                m.Acknowledge(alert_id="a", unit_id=key, organization_id="o", user_id="u", at_ms=number),
            )


async def order_at_once(database: AsyncEngine, first: int, count: int) -> None:
    """The same in one transaction."""
    rows = [
        OutboxRow(
            message_id=str(number),
            topic=ALERT_COMMANDS.name,
            key=KEYS[number % len(KEYS)],
            type="acknowledge",
            value=m.encode(m.Acknowledge(alert_id="a", unit_id="-", organization_id="o", user_id="u", at_ms=number)),
        )
        for number in range(first, first + count)
    ]
    async with AsyncSession(database) as session, session.begin():
        session.add_all(rows)


async def is_empty(database: AsyncEngine) -> bool:
    async with database.connect() as connection:
        return (await connection.execute(select(func.count()).select_from(OutboxRow))).scalar() == 0


def emptied(database: AsyncEngine) -> Callable[[], bool | Awaitable[bool]]:
    return lambda: is_empty(database)


def times_by_key(kafka: KafkaSettings) -> dict[str, list[int]]:
    found = defaultdict(list)
    for record in records(kafka, ALERT_COMMANDS):
        found[record.key].append(msgspec.json.decode(record.value or b"", type=m.Acknowledge).at_ms)
    return found


def assert_all_in_order(found: dict[str, list[int]], count: int) -> None:
    """Every order arrived; a repetition goes back and then on through everything again, so the last is the newest."""
    assert set().union(*found.values()) == set(range(count))
    for times in found.values():
        assert times[-1] == max(times)
        assert all(after <= before + len(KEYS) for before, after in itertools.pairwise(times))
