"""The relay under kill -9, and with the broker or the database away."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from broker.settings import KafkaSettings
from broker.topics import create_topics
from database.configuration import UnitRow
from database.engine import DatabaseSettings, make_engine
from database.queues import OutboxRow
from database.upgrade import upgrade
from local.kafka import EmbeddedKafka
from local.postgres import EmbeddedPostgres
from outbox import writer
from schemas.topics import ALERT_COMMANDS, UNITS
from tests.outbox.relays import (
    address_of,
    assert_all_in_order,
    emptied,
    is_empty,
    order,
    order_at_once,
    relaying,
    times_by_key,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from tests.conftest import Eventually

pytestmark = [pytest.mark.anyio, pytest.mark.broker, pytest.mark.postgres]

ROOT = Path(__file__).resolve().parents[2]


def start_relay(database: AsyncEngine, kafka: KafkaSettings) -> subprocess.Popen[bytes]:
    """`freshtrack relay` as a process of its own."""
    environment = os.environ | {
        "DATABASE_URL": address_of(database).url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
    }
    command = [sys.executable, "-m", "cli", "relay"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)


async def test_killed_again_and_again_nothing_is_lost_and_order_holds(
    database: AsyncEngine, kafka_settings: KafkaSettings, eventually: Eventually
) -> None:
    async def relayed() -> int:
        """Rows that were written and are gone again."""
        async with database.connect() as connection:
            statement = text("SELECT (SELECT last_value FROM outbox_sequence_seq) - (SELECT count(*) FROM outbox)")
            return int((await connection.execute(statement)).scalar_one())

    async def moved_on_from(before: int) -> bool:
        return await relayed() > before

    async def connected(count: int) -> bool:
        async with database.connect() as connection:
            statement = text(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE application_name = 'freshtrack relay' AND datname = current_database()"
            )
            return bool((await connection.execute(statement)).scalar_one() == count)

    # Two at a time; both are killed in the middle of the work, one after the other.
    processes = [start_relay(database, kafka_settings) for _ in range(2)]
    total = killed_at_work = 0
    try:
        for _ in range(3):
            before = await relayed()
            await order_at_once(database, total, 4_000)
            total += 4_000
            moved: Callable[[], bool | Awaitable[bool]] = functools.partial(moved_on_from, before)
            await eventually.awaited(moved, within_s=30)
            for process in list(processes):
                process.kill()
                process.wait()
                processes.remove(process)
                processes.append(start_relay(database, kafka_settings))
            killed_at_work += not await is_empty(database)
        await eventually.awaited(emptied(database), within_s=30)
        both: Callable[[], bool | Awaitable[bool]] = functools.partial(connected, 2)
        await eventually.awaited(both, within_s=30)
    finally:
        for process in processes:
            process.terminate()
        codes = [process.wait(20) for process in processes]

    assert_all_in_order(times_by_key(kafka_settings), total)
    assert codes == [0, 0]
    assert killed_at_work


@pytest.mark.long
async def test_a_frozen_relay_is_replaced_and_overtakes_nobody_when_it_wakes_up(
    database: AsyncEngine, kafka_settings: KafkaSettings, eventually: Eventually
) -> None:
    with start_relay(database, kafka_settings) as frozen:
        await order_at_once(database, 0, 100)
        await eventually.awaited(emptied(database), within_s=30)
        frozen.send_signal(signal.SIGSTOP)
        await order_at_once(database, 100, 3_000)
        async with relaying(database, kafka_settings):
            # The database ends the frozen one's session after 30 s without a word.
            await eventually.awaited(emptied(database), within_s=60)
            frozen.send_signal(signal.SIGCONT)
            await order_at_once(database, 3_100, 1_000)
            await eventually.awaited(emptied(database), within_s=30)
        frozen.terminate()
        assert frozen.wait(30) == 0
    assert_all_in_order(times_by_key(kafka_settings), 4_100)


async def test_with_the_broker_away_everything_waits_and_then_arrives(
    database: AsyncEngine, tmp_path: Path, eventually: Eventually
) -> None:
    with EmbeddedKafka(tmp_path) as broker:
        settings = KafkaSettings(bootstrap_servers=broker.bootstrap)
        create_topics(settings.librdkafka(), topics=[ALERT_COMMANDS])
        async with relaying(database, settings) as relay:
            await order(database, 0, 20)
            await eventually.awaited(lambda: relay.published == 20)
            broker.kill()
            await order(database, 20, 50)
            assert not await is_empty(database)
            broker.start()
            await eventually.awaited(emptied(database), within_s=45)
        assert_all_in_order(times_by_key(settings), 70)


async def test_with_the_database_killed_the_relay_waits_for_it(
    kafka_settings: KafkaSettings, database_folder: Path, eventually: Eventually
) -> None:
    with EmbeddedPostgres(database_folder / "killed") as server:
        engine = make_engine(DatabaseSettings(url=server.url))
        await upgrade(engine)
        async with relaying(engine, kafka_settings) as relay:
            await order(engine, 0, 20)
            await eventually.awaited(lambda: relay.published == 20)
            server.kill()
            server.start()
            await order(engine, 20, 20)
            await eventually.awaited(lambda: relay.published == 40, within_s=20)
        await engine.dispose()
    assert_all_in_order(times_by_key(kafka_settings), 40)


async def test_a_topic_that_is_missing_does_not_hold_up_the_others(
    database: AsyncEngine, organization: str, kafka_settings: KafkaSettings, eventually: Eventually
) -> None:
    settings = kafka_settings.model_copy(update={"topic_prefix": f"{kafka_settings.topic_prefix}part."})
    create_topics(settings.librdkafka(), prefix=settings.topic_prefix, topics=[ALERT_COMMANDS])
    async with AsyncSession(database) as session, session.begin():
        session.add(UnitRow(unit_id="fridge", organization_id=organization, name="Fridge"))
        await writer.publish_units(session, ["fridge"])
    await order(database, 0, 5)

    async with relaying(database, settings) as relay:
        await eventually.awaited(lambda: relay.published == 5, within_s=30)

        async with AsyncSession(database) as session:
            assert list(await session.scalars(select(OutboxRow.topic))) == ["units"]
        create_topics(settings.librdkafka(), prefix=settings.topic_prefix, topics=[UNITS])
        await eventually.awaited(emptied(database), within_s=30)
