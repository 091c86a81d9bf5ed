"""From raw readings to the mail, through detection, the recorder and the digests worker: the numbers are right."""

from __future__ import annotations

import random
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from schemas import messages as m
from tests.domain.digest.test_numbers import as_they_arrive, loop_over, readings_around
from tests.pipeline.digest_world import (
    ALL_ZONES,
    ZONES,
    ask,
    assert_numbers,
    assert_says,
    configure,
    environment,
    period_of,
    reports,
    unit_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from local.mailbox.client import MailboxProcess
    from tests.conftest import Eventually
    from tests.pipeline.conftest import Space, Worker

pytestmark = [pytest.mark.anyio, pytest.mark.broker, pytest.mark.postgres]


@pytest.mark.parametrize(
    ("zones", "killed"),
    [
        pytest.param(ZONES[:2], False, id="two zones"),
        pytest.param(ALL_ZONES, True, id="eight zones, killed", marks=pytest.mark.long),
    ],
)
async def test_the_numbers_of_a_mail_are_those_of_the_raw_readings(
    space: Space,
    start_worker: Callable[..., Worker],
    database: AsyncEngine,
    mailbox: MailboxProcess,
    eventually: Eventually,
    zones: tuple[str, ...],
    killed: bool,
) -> None:
    """From the readings on: detection, recorder, digests. 5 % twice, 5 % late, on the days that change the clocks."""
    settings = environment(mailbox, database)
    readings: dict[str, list[tuple[int, float]]] = {}
    arrivals: list[tuple[str, list[tuple[int, float]]]] = []
    for timezone in zones:
        rng = random.Random(timezone)
        unit = unit_of(timezone)
        configure(space, unit, unit.organization_id.lower())
        readings[timezone] = readings_around(period_of(timezone), rng)
        arrived = as_they_arrive(readings[timezone], rng)
        arrivals += [(unit.unit_id, arrived[first : first + 10]) for first in range(0, len(arrived), 10)]
    space.flush()
    workers = {name: start_worker(name, **settings) for name in ("detection", "recorder", "digests")}
    for worker in workers.values():
        eventually(partial(is_ready, worker), within_s=60, every_s=0.1)
    for quarter in range(4):
        for unit_id, batch in arrivals[_part(len(arrivals), quarter)]:
            message = m.ReadingBatch(unit_id, [m.Reading(at_ms, value) for at_ms, value in batch])
            space.send("readings", unit_id, m.encode(message))
        space.flush()
        if killed and quarter < 3:
            for name in ("detection", "recorder"):
                workers[name].kill()
                workers[name] = start_worker(name, **settings)
    expected = {zone: loop_over(readings[zone], period_of(zone)) for zone in zones}
    for timezone in zones:
        recorded = partial(recorded_readings, database, timezone, expected[timezone]["count"])
        await eventually.awaited(recorded, within_s=90, every_s=0.3, what=f"all readings of {timezone} in SQL")
    for timezone in zones:
        unit = unit_of(timezone)
        ask(space, unit, timezone, unit.organization_id.lower(), period_of(timezone).ends_at + timedelta(hours=12))
    space.flush()
    eventually(lambda: len(mailbox.mails()) >= len(zones), within_s=60, every_s=0.1)
    found = {digest.period.timezone: digest for digest in await reports(database)}
    for timezone in zones:
        assert_numbers(found[timezone], expected[timezone])
        mail = next(one for one in mailbox.mails() if one.to[0].startswith(unit_of(timezone).organization_id.lower()))
        assert_says(mailbox, mail, found[timezone])

    told = partial(ledger, database, len(zones))
    assert await eventually.awaited(told, within_s=30, every_s=0.2, what="a row of the ledger for each digest, sent")


async def ledger(engine: AsyncEngine, digests: int) -> bool:
    """Whether SQL tells that so many digests were sent."""
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT status, progress FROM digest_ledger WHERE asked_for"))
        return [tuple(row) for row in rows] == [("sent", 100)] * digests


def is_ready(worker: Worker) -> bool:
    return "worker.ready" in worker.log.read_text()


def _part(length: int, quarter: int) -> slice:
    return slice(quarter * length // 4, (quarter + 1) * length // 4)


async def recorded_readings(engine: AsyncEngine, timezone: str, expected: float) -> bool:
    """Whether all readings of the period are in the recorded buckets."""
    period = period_of(timezone)
    async with engine.connect() as connection:
        found = await connection.scalar(
            text(
                "SELECT sum(count) FROM unit_aggregates"
                " WHERE unit_id = :unit AND starts_at >= :since AND starts_at < :until"
            ),
            {"unit": unit_of(timezone).unit_id, "since": period.starts_at, "until": period.ends_at},
        )
    return bool(found == expected)
