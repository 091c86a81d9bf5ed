"""A dead SMS that a person sends again, through a real worker: it leaves once, under the request that it always was."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from broker.settings import KafkaSettings
from cli.contracts.asyncapi import headers_of
from database.queues import OutboxRow
from database.records import JobFailureRow
from local.telnyx.behaviour import Behaviour
from outbox.redrives import judge_rows, redrive
from producers.kafka import KafkaProducer
from schemas import messages as m
from schemas.topics import SMS_DLQ, SMS_LANES
from tests.domain.redrive.letters import options, request
from tests.outbox.relays import emptied, relaying

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from local.telnyx.client import TelnyxProcess
    from tests.conftest import Eventually
    from tests.pipeline.conftest import Space, Worker

pytestmark = [pytest.mark.anyio, pytest.mark.broker, pytest.mark.postgres]

ANN = m.Contact(user_id="ann", organization_id="acme", name="Ann", phone_e164="+12025550101")


async def redriven(database: AsyncEngine, dead: Any) -> list[OutboxRow]:
    """What a redrive of the dead letter leaves in the outbox."""
    now = datetime.now(UTC)
    row = JobFailureRow(
        lane="sms-warning",
        reason="recipient",
        payload=dead.value(),
        failed_at=now,
        source_topic="sms-dlq",
        source_partition=dead.partition(),
        source_offset=dead.offset(),
    )
    async with AsyncSession(database, expire_on_commit=False) as session, session.begin():
        session.add(row)
        await session.flush()
        await redrive(session, await judge_rows(session, [row], now=now, options=options()), by="eve", now=now)
        return list(await session.scalars(select(OutboxRow).order_by(OutboxRow.sequence)))


async def test_a_redriven_sms_leaves_once_however_often_its_record_lies_in_the_lane(
    space: Space,
    start_worker: Callable[..., Worker],
    telnyx: TelnyxProcess,
    database: AsyncEngine,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in space.environment.items():
        monkeypatch.setenv(name, value)
    kafka = KafkaSettings()
    space.send("contacts", "ann", m.encode(ANN))
    space.flush()
    telnyx.behave(Behaviour(code="40310", times=1))
    start_worker(
        "notifications",
        TELNYX_API_URL=telnyx.url,
        TELNYX_API_KEY=telnyx.api_key,
        TELNYX_FROM="+12025550199",
        TELNYX_MESSAGING_PROFILE_ID="profile-1",
        RATE_WINDOW_S="0",
    )
    with KafkaProducer(kafka.librdkafka(), prefix=kafka.topic_prefix) as producer:

        def put(**fields: Any) -> None:
            wanted = request(requested_at_ms=time.time_ns() // 1_000_000, **fields)
            producer.publish(SMS_LANES[wanted.severity], "ann", m.encode(wanted), message_type="sms").result(20)

        put(request_id="r1", text="first")
        eventually(lambda: space.read("sms-dlq"), within_s=40, what="a dead letter")
        [dead] = space.read("sms-dlq")
        documented: Any = headers_of(SMS_DLQ, m.SmsDeadLetter)["properties"]
        assert set(dict(dead.headers() or ())) == set(documented)

        rows = await redriven(database, dead)
        async with relaying(database, kafka):
            await eventually.awaited(emptied(database))
            eventually(lambda: telnyx.counts().accepted == 1, within_s=20, what="the SMS")
            # As after a crash of the relay between the broker's answer and the deletion of the rows.
            async with AsyncSession(database) as session, session.begin():
                for row in rows:
                    fields = ("message_id", "topic", "key", "type", "value", "traceparent", "headers")
                    session.add(OutboxRow(**{field: getattr(row, field) for field in fields}))
            await eventually.awaited(emptied(database))
        # What comes behind it shows that it was passed over.
        put(request_id="r2", text="last")
        eventually(lambda: telnyx.counts().accepted >= 2, within_s=20, what="the SMS behind it")

    assert [arrival.text for arrival in telnyx.log().arrivals] == ["first", "first", "last"]
    assert len(space.read("sms-warning")) == 4
    assert len(space.read("sms-dlq")) == 1
