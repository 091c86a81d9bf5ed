"""Old rows are deleted daily by the relay that leads, and a failure of that stops nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from database.engine import DatabaseSettings, make_engine
from database.queues import IdempotencyKeyRow
from database.retention import RetentionSettings
from outbox.pruning import AGAIN_S, EVERY_S, Pruning
from tests.outbox.relays import relaying

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from broker.settings import KafkaSettings
    from tests.conftest import Eventually

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

NOW = datetime(2026, 3, 1, tzinfo=UTC)


async def put(database: AsyncEngine, name: str, age: timedelta) -> None:
    async with AsyncSession(database) as session, session.begin():
        session.add(
            IdempotencyKeyRow(
                key_id="k",
                idempotency_key=name,
                request_sha256=b"",
                status=200,
                headers="{}",
                body=b"",
                created_at=NOW - age,
            )
        )


async def left(database: AsyncEngine) -> int:
    async with AsyncSession(database) as session:
        return await session.scalar(select(func.count()).select_from(IdempotencyKeyRow)) or 0


async def test_rows_go_at_the_start_and_a_day_later_again(database: AsyncEngine) -> None:
    waited: list[float] = []
    await put(database, "old", timedelta(days=3))
    await put(database, "young", timedelta(days=1, hours=12))

    async def wait(seconds: float) -> None:
        waited.append(seconds)
        assert await left(database) == 2 - len(waited)
        if len(waited) == 2:
            raise asyncio.CancelledError

    pruning = Pruning(database, RetentionSettings(), lambda: NOW + timedelta(seconds=sum(waited)), wait)
    with pytest.raises(asyncio.CancelledError):
        await pruning.run()
    assert waited == [EVERY_S, EVERY_S]


async def test_a_database_that_is_away_is_tried_again_soon() -> None:
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)
        raise asyncio.CancelledError

    engine = make_engine(DatabaseSettings(url="postgresql://nobody@127.0.0.1:1/nothing"))
    with pytest.raises(asyncio.CancelledError):
        await Pruning(engine, RetentionSettings(), lambda: NOW, wait).run()
    assert waited == [AGAIN_S]


@pytest.mark.broker
async def test_the_relay_that_leads_prunes(
    database: AsyncEngine, kafka_settings: KafkaSettings, eventually: Eventually
) -> None:
    await put(database, "old", timedelta(days=3))
    pruning = Pruning(database, RetentionSettings(), lambda: NOW)

    async def gone() -> bool:
        return await left(database) == 0

    async with relaying(database, kafka_settings, pruning.run):
        await eventually.awaited(gone)
