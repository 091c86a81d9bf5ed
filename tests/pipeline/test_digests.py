"""The worker `digests` on the real broker, PostgreSQL and SMTP: the right numbers, one mail a user, whatever dies."""

from __future__ import annotations

import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
from sqlalchemy import insert

from database.declarative import from_ms
from database.digests import DigestReportRow
from database.records import UnitAggregateRow
from database.watermarks import RecorderWatermarkRow
from domain.digest.schedule import latest_run
from schemas import messages as m
from schemas.topics import ALERTS, UNIT_AGGREGATES
from tests.domain.digest.test_numbers import loop_over, readings_around, through_the_worker
from tests.pipeline.digest_world import (
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

USERS_A_ZONE = 5


async def record(engine: AsyncEngine, buckets: list[m.AggregateBucket], unit: m.UnitConfig) -> None:
    """What detection and the recorder would have written."""
    rows = []
    for bucket in buckets:
        fields = msgspec.structs.asdict(bucket) | {
            "unit_id": unit.unit_id,
            "organization_id": unit.organization_id,
            "starts_at": from_ms(bucket.starts_at_ms),
        }
        for name in ("starts_at_ms", "first_at_ms", "last_at_ms"):
            del fields[name]
        rows.append(fields)
    async with engine.begin() as connection:
        await connection.execute(insert(UnitAggregateRow), rows)


async def recorded_until(engine: AsyncEngine, at: datetime) -> None:
    rows = [
        {"topic": topic.name, "partition": number, "recorded_until": at}
        for topic in (UNIT_AGGREGATES, ALERTS)
        for number in range(topic.partitions)
    ]
    async with engine.begin() as connection:
        await connection.execute(insert(RecorderWatermarkRow), rows)


def progress(space: Space) -> Counter[m.DigestStatus]:
    decode = msgspec.json.Decoder(m.DigestProgress).decode
    return Counter(decode(message.value() or b"").status for message in space.read("digest-progress"))


async def test_each_user_gets_one_mail_with_the_numbers_of_a_plain_loop_though_the_worker_is_killed_three_times(
    space: Space,
    start_worker: Callable[..., Worker],
    database: AsyncEngine,
    mailbox: MailboxProcess,
    eventually: Eventually,
) -> None:
    readings: dict[str, list[tuple[int, float]]] = {}
    users: set[str] = set()
    for timezone, period in ((zone, period_of(zone)) for zone in ZONES):
        rng = random.Random(timezone)
        readings[timezone] = readings_around(period, rng)
        unit = unit_of(timezone)
        await record(database, through_the_worker(readings[timezone], rng), unit)
        for number in range(USERS_A_ZONE):
            user_id = f"{unit.organization_id}-{number}".lower()
            users.add(user_id)
            configure(space, unit, user_id)
            # At noon of the day after, and for all of an organization at the same moment.
            ask(space, unit, timezone, user_id, period.ends_at + timedelta(hours=12))
    space.flush()
    settings = environment(mailbox, database, DIGEST_WAIT_S="60")

    # Killed while it waits for the recorder,
    worker = start_worker("digests", **settings)
    eventually(lambda: progress(space)[m.DigestStatus.WAITING], within_s=40, every_s=0.1)
    worker.kill()
    await recorded_until(database, datetime.now(UTC))
    # ... once a digest is made,
    worker = start_worker("digests", **settings)
    eventually(lambda: progress(space)[m.DigestStatus.COUNTED], within_s=40, every_s=0.05)
    worker.kill()
    # ... and while mails are leaving.
    mailbox.delay(0.3)
    worker = start_worker("digests", **settings)
    eventually(lambda: len(mailbox.mails()) >= 3, within_s=40, every_s=0.02)
    assert len(mailbox.mails()) < len(users)
    worker.kill()
    mailbox.delay(0)
    worker = start_worker("digests", **settings)
    eventually(lambda: len(mailbox.mails()) >= len(users), within_s=40, every_s=0.1)
    eventually(lambda: progress(space)[m.DigestStatus.SENT] >= len(users), within_s=20, every_s=0.1)
    assert worker.end() == 0

    mails = mailbox.mails()
    assert Counter(mail.to[0] for mail in mails) == dict.fromkeys((f"{user}@example.com" for user in users), 1)
    # What was on its way at the last kill came again under the same Message-ID; nothing else did.
    assert sum(mail.copies for mail in mails) <= len(users) + 5
    found = {digest.period.timezone: digest for digest in await reports(database)}
    assert found.keys() == set(ZONES)
    for timezone, digest in found.items():
        assert_numbers(digest, loop_over(readings[timezone], period_of(timezone)))
        unit = unit_of(timezone)
        mail = next(one for one in mails if one.to[0].startswith(unit.organization_id.lower()))
        assert_says(mailbox, mail, digest)


async def test_after_days_down_the_newest_period_is_made_good_once_and_a_retry_brings_what_was_refused(
    space: Space,
    start_worker: Callable[..., Worker],
    database: AsyncEngine,
    mailbox: MailboxProcess,
    eventually: Eventually,
) -> None:
    timezone = "America/Chicago"
    unit = unit_of(timezone)
    configure(space, unit, "ann")
    preference = m.DigestPreference(user_id="ann", organization_id=unit.organization_id, timezone=timezone)
    long_ago_ms = int((time.time() - 5 * 86_400) * 1000)
    space.producer.produce(
        space.topic("digest-preferences"), key="ann", value=m.encode(preference), timestamp=long_ago_ms
    )
    space.flush()
    mailbox.refuse("451 4.3.0 later")
    # Nobody records: the mail comes when the time to wait is over, and says so.
    worker = start_worker("digests", **environment(mailbox, database, DIGEST_WAIT_S="0"))
    eventually(lambda: space.read("email-retries"), within_s=40, every_s=0.1)
    mailbox.refuse("")
    eventually(mailbox.mails, within_s=20, every_s=0.1)
    (mail,) = mailbox.mails()
    assert mail.to == ["ann@example.com"]
    said = mailbox.text(mail.number)
    run = latest_run(m.Cadence.DAILY, timezone, None, datetime.now(UTC))
    assert f"{run.period.first:%A, %-d %B %Y}" in said
    assert "Not all readings of this period had been processed" in said
    eventually(lambda: progress(space)[m.DigestStatus.SENT], within_s=10, every_s=0.1)
    assert worker.end() == 0
    outcomes = [dict(message.headers() or ())["type"] for message in space.read("email-outcomes")]
    assert outcomes == [b"email_sending", b"email_failed", b"email_retry_scheduled", b"email_sending", b"email_sent"]
    async with database.connect() as connection:
        made = await connection.execute(DigestReportRow.__table__.select())
        assert [row.complete for row in made] == [False]
