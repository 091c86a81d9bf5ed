"""The worker `recorder` on the real broker and a real PostgreSQL: once, whatever is killed, stopped or wrong."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import text

from database.engine import DatabaseSettings, make_engine
from database.upgrade import upgrade
from database.watermarks import NEVER, recorded_until
from local.postgres import EmbeddedPostgres
from schemas import messages as m
from tests.streams.recorder.records import bucket, dead_sms, outcome, triggered

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from tests.conftest import Eventually
    from tests.pipeline.conftest import Space, Worker

pytestmark = [pytest.mark.anyio, pytest.mark.broker, pytest.mark.postgres]


def address(engine: AsyncEngine) -> str:
    return engine.url.render_as_string(hide_password=False)


async def value(engine: AsyncEngine, query: str) -> Any:
    async with engine.connect() as connection:
        return (await connection.execute(text(query))).scalar_one()


def metrics_of(worker: Worker) -> list[str]:
    events = map(json.loads, worker.log.read_text().splitlines())
    port = next(event["port"] for event in events if event["event"] == "metrics.served")
    return httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text.splitlines()


def send_outcomes(space: Space, first: int, count: int) -> None:
    for number in range(first, first + count):
        about = outcome(m.SmsSending, request_id=f"r{number}", user_id=f"u{number % 100}", attempt_id="x")
        space.send("sms-outcomes", f"u{number % 100}", m.encode(about))
        if number % 1_000 == 0:
            space.flush()
    space.flush()


async def test_what_was_published_before_the_watermark_is_recorded(
    space: Space, start_worker: Callable[..., Worker], database: AsyncEngine, eventually: Eventually
) -> None:
    for number in range(20):
        space.send("unit-aggregates", f"unit-{number}", m.encode(bucket(f"unit-{number}")))
    space.flush()
    published = datetime.now(UTC)
    async with database.connect() as connection:
        assert await recorded_until(connection) == NEVER

    async def is_recorded() -> bool:
        async with database.connect() as connection:
            return await recorded_until(connection) > published

    worker = start_worker("recorder", DATABASE_URL=address(database))
    await eventually.awaited(is_recorded, within_s=40, every_s=0.1)
    assert await value(database, "SELECT count(*) FROM unit_aggregates") == 20
    # An idle topic's watermark follows the clock.
    published = datetime.now(UTC)
    await eventually.awaited(is_recorded, within_s=10, every_s=0.1)
    assert worker.end() == 0


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.long)])
async def test_killed_again_and_again_everything_is_recorded_once(
    space: Space, start_worker: Callable[..., Worker], database: AsyncEngine, eventually: Eventually, kills: int
) -> None:
    async def recorded() -> int:
        return int(await value(database, "SELECT count(*) FROM sms_alert_log"))

    total, killed_at_work = 10_000 * kills, 0
    send_outcomes(space, 0, total)
    settings = {"DATABASE_URL": address(database), "MAX_BATCH": "100", "SESSION_TIMEOUT_S": "6", "FREEZE_LIMIT_S": "5"}
    worker = start_worker("recorder", **settings)
    for _ in range(kills):
        before = await recorded()

        async def moved_on(before: int = before) -> bool:
            return await recorded() > before

        await eventually.awaited(moved_on, within_s=40)
        worker.kill()
        killed_at_work += await recorded() < total
        worker.start()

    async def all_recorded() -> bool:
        return await recorded() >= total

    await eventually.awaited(all_recorded, within_s=60)
    assert worker.end() == 0
    assert killed_at_work >= kills / 2
    assert await recorded() == total
    assert await value(database, "SELECT count(DISTINCT request_id) FROM sms_alert_log") == total
    assert await value(database, "SELECT sum(next_offset) FROM recorder_offsets WHERE topic = 'sms-outcomes'") == total


async def test_with_the_database_away_it_waits_and_then_catches_up(
    space: Space, start_worker: Callable[..., Worker], database_folder: Path, eventually: Eventually
) -> None:
    with EmbeddedPostgres(database_folder / space.prefix) as server:
        engine = make_engine(DatabaseSettings(url=server.url))
        await upgrade(engine)

        async def recorded(count: int) -> bool:
            return bool(await value(engine, "SELECT count(*) FROM sms_alert_log") == count)

        def ready() -> float:
            (told,) = (line for line in metrics_of(worker) if line.startswith("freshtrack_recorder_ready "))
            return float(told.split()[1])

        worker = start_worker("recorder", DATABASE_URL=server.url)
        send_outcomes(space, 0, 1_000)
        await eventually.awaited(lambda: recorded(1_000), within_s=40)
        assert ready() == 1
        server.kill()
        eventually(lambda: ready() == 0)
        send_outcomes(space, 1_000, 1_000)
        eventually(lambda: "recorder.database_away" in worker.log.read_text(), within_s=20)
        server.start()
        await eventually.awaited(lambda: recorded(2_000), within_s=20)
        eventually(lambda: "recorder.database_back" in worker.log.read_text())
        assert ready() == 1
        server.stop()
        send_outcomes(space, 2_000, 1_000)
        eventually(lambda: worker.log.read_text().count("recorder.database_away") == 2, within_s=20)

        # It ends in good time also while it waits, and its successor goes on where SQL stands.
        begin = time.monotonic()
        assert worker.end() == 0
        assert time.monotonic() - begin < 15
        assert worker.log.read_text().count("recorder.database_away") == 2
        server.start()
        worker.start()
        await eventually.awaited(lambda: recorded(3_000), within_s=40)
        assert worker.end() == 0
        await engine.dispose()


async def test_bad_records_stop_nothing_and_are_found_among_the_failures(
    space: Space, start_worker: Callable[..., Worker], database: AsyncEngine, eventually: Eventually
) -> None:
    send_outcomes(space, 0, 200)
    poison = m.encode(outcome(m.SmsFailed, error_code="1", error="zero \x00 byte"))
    for value_bytes in (b"no JSON", None, poison):
        space.send("sms-outcomes", "u1", value_bytes)
        space.send("sms-dlq", "u1", value_bytes)
        space.send("unit-aggregates", "u1", value_bytes)
        space.send("alerts", "u1", value_bytes)
    send_outcomes(space, 200, 200)
    space.send("alerts", "u1", m.encode(triggered()))
    space.send("sms-dlq", "u1", m.encode(dead_sms()))
    space.flush()

    async def all_recorded() -> bool:
        return bool(
            await value(
                database,
                "SELECT (SELECT count(*) FROM sms_alert_log) = 400 AND (SELECT count(*) FROM alerts) = 1"
                " AND (SELECT count(*) FROM job_failures) = 13",
            )
        )

    worker = start_worker("recorder", DATABASE_URL=address(database))
    await eventually.awaited(all_recorded, within_s=40)
    assert worker.end() == 0
    assert await value(database, "SELECT sum(next_offset) FROM recorder_offsets") == 414
    refused = "SELECT lane FROM job_failures WHERE reason = 'refused_by_the_database'"
    assert await value(database, refused) == "sms-outcomes"


async def test_a_database_that_was_restored_from_an_old_copy_is_filled_up_again(
    space: Space, start_worker: Callable[..., Worker], database: AsyncEngine, eventually: Eventually
) -> None:
    async def recorded(count: int) -> bool:
        return bool(await value(database, "SELECT count(*) FROM sms_alert_log") == count)

    send_outcomes(space, 0, 600)
    worker = start_worker("recorder", DATABASE_URL=address(database), MAX_BATCH="50")
    await eventually.awaited(lambda: recorded(600), within_s=40)
    assert worker.end() == 0
    async with database.begin() as connection:
        await connection.execute(text("DELETE FROM sms_alert_log WHERE source_offset >= 20"))
        await connection.execute(text("UPDATE recorder_offsets SET next_offset = 20"))
        kept = (await connection.execute(text("SELECT count(*) FROM sms_alert_log"))).scalar_one()
    assert 0 < kept < 600
    # One partition goes on, the others are idle.
    send_outcomes(space, 700, 1)
    worker.start()
    await eventually.awaited(lambda: recorded(601), within_s=40)
    assert worker.end() == 0
    assert "recorder.rewound" in worker.log.read_text()
    assert await value(database, "SELECT count(DISTINCT request_id) FROM sms_alert_log") == 601
