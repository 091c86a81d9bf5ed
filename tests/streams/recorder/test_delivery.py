"""The recorder's flows on a real PostgreSQL: once, whatever fails, and what becomes of what cannot be written."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, cast

import msgspec
import pytest
from sqlalchemy import text

from database.engine import DatabaseSettings, make_engine
from database.upgrade import upgrade
from schemas import messages as m
from schemas import topics as t
from streams.engine.consumer import Stale
from tests.streams.recorder.records import (
    FakeBatch,
    World,
    alert_fields,
    bucket,
    dead_sms,
    outcome,
    records_of,
    settlement,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from streams.engine.consumer import Batch
    from tests.conftest import Eventually

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def test_a_batch_that_is_read_again_changes_nothing(world: World) -> None:
    records = records_of(t.SMS_OUTCOMES, outcome(m.SmsSending, attempt_id="x"), outcome(m.SmsUnknown, attempt_id="x"))
    await world.record(records[:1])
    await world.record(records)
    await world.record(records)
    assert await world.rows("SELECT outcome, source_offset FROM sms_alert_log ORDER BY 2") == [
        ("sending", 0),
        ("unknown", 1),
    ]
    assert await world.rows("SELECT * FROM recorder_offsets") == [("sms-outcomes", 0, 2)]
    assert world.counts.skipped["sms-outcomes"] == 3
    assert world.counts.records["sms-outcomes"] == 2


async def test_a_worker_that_wakes_up_late_writes_nothing_over_its_successor(world: World) -> None:
    await world.take(t.UNIT_AGGREGATES, bucket(count=1), bucket(count=2))
    await world.take(t.UNIT_AGGREGATES, bucket(count=1))
    assert await world.value("SELECT count FROM unit_aggregates") == 2


@pytest.mark.parametrize(
    ("what", "poison"),
    [
        ("a NUL in a text", outcome(m.SmsFailed, error_code="1", error="zero \x00 byte")),
        ("a number beyond the column", outcome(m.SmsSending, attempt_id="x", attempt=2**40)),
        ("a number beyond PostgreSQL", outcome(m.SmsSending, attempt_id="x", attempt=2**63)),
    ],
)
async def test_a_row_that_the_database_refuses_is_set_aside_and_stops_nothing(
    world: World, what: str, poison: m.SmsOutcome
) -> None:
    good = outcome(m.SmsSending, attempt_id="x")
    await world.take(t.SMS_OUTCOMES, *[good] * 5, poison, *[good] * 8, poison)
    assert await world.value("SELECT count(*) FROM sms_alert_log") == 13
    found = await world.rows(
        "SELECT organization_id, user_id, lane, reason, source_offset, payload FROM job_failures ORDER BY source_offset"
    )
    assert [row[:5] for row in found] == [
        ("acme", "ada", "sms-outcomes", "refused_by_the_database", 5),
        ("acme", "ada", "sms-outcomes", "refused_by_the_database", 14),
    ], what
    assert await world.value("SELECT next_offset FROM recorder_offsets") == 15
    assert world.counts.unusable["sms-outcomes", "refused_by_the_database"] == 2
    letter = msgspec.json.decode(found[0][5], type=m.UnreadableRecord)
    assert (letter.topic, letter.offset) == ("sms-outcomes", 5)
    assert letter.value_base64 is not None


async def test_records_that_cannot_be_decoded_are_job_failures(world: World) -> None:
    unreadable = (None, b"", b"\xff\x00", b"[]", b'{"type": "sent"}', b'{"user_id": "a\\u0000"}')
    topics = [topic for topic in t.TOPICS if topic.name in world.flows and not topic.compacted]
    for topic in topics:
        await world.take(topic, *unreadable)
    found = await world.rows("SELECT lane, count(*) FROM job_failures WHERE reason = 'unreadable' GROUP BY lane")
    assert dict(found) == {topic.name: len(unreadable) for topic in topics}
    assert await world.rows("SELECT DISTINCT user_id FROM job_failures ORDER BY 1") == [
        ("a\N{REPLACEMENT CHARACTER}",),
        (None,),
    ]


async def test_a_dead_letter_that_the_database_refuses_does_not_come_back(world: World) -> None:
    record = records_of(t.SMS_DLQ, dead_sms(error="zero \x00 byte", reason="bad \x00"))[0]
    record.headers = (("id", b"x" * 9_000), ("type", b"sms_dead\x00"))
    record.timestamp = -(2**62)
    await world.record([record])
    assert await world.rows("SELECT lane, reason FROM job_failures") == [("sms-dlq", "refused_by_the_database")]


async def test_an_id_that_fits_into_no_index_is_set_aside_and_one_in_a_header_is_left_out(world: World) -> None:
    long = m.encode(outcome(m.SmsSending, attempt_id="x")).replace(b'"r1"', b'"' + b"r" * 500_000 + b'"')
    records = records_of(t.ALERTS, m.encode(m.AlertResolved(**alert_fields("a" * 200))))
    records[0].headers = (("id", random.Random(1).randbytes(9_000).hex().encode()), ("type", b"resolved"))
    await world.record(records)
    await world.take(t.SMS_OUTCOMES, long)
    assert await world.rows("SELECT lane FROM job_failures") == [("sms-outcomes",)]
    assert await world.rows("SELECT message_id FROM alert_timeline") == [(None,)]


async def test_a_settlement_waits_until_its_dead_letter_is_recorded(world: World, eventually: Eventually) -> None:
    waiting = asyncio.ensure_future(world.take(t.DEAD_LETTER_SETTLEMENTS, settlement("sms-dlq/0/1")))
    await world.take(t.SMS_DLQ, dead_sms())
    assert not waiting.done()
    await world.take(t.SMS_DLQ, dead_sms("r2"), first=1)
    await asyncio.wait_for(waiting, 10)
    assert await world.value("SELECT settled_by FROM job_failures WHERE request_id = 'r2'") == "ada"
    assert world.availability.tries == 0


async def test_two_workers_that_write_the_same_partition_at_once_write_each_record_once(world: World) -> None:
    records = records_of(t.SMS_OUTCOMES, *[outcome(m.SmsSending, attempt_id="x")] * 600)
    other = World(world.engine)

    async def work(flows: World, size: int) -> None:
        for start in range(0, len(records), size):
            await flows.record(records[start : start + size])

    await asyncio.gather(work(world, 20), work(other, 33))
    assert await world.value("SELECT count(*) FROM sms_alert_log") == 600
    assert await world.value("SELECT next_offset FROM recorder_offsets") == 600
    assert world.counts.records["sms-outcomes"] + other.counts.records["sms-outcomes"] == 600


async def test_a_try_that_takes_too_long_is_made_again(database: AsyncEngine, eventually: Eventually) -> None:
    world = World(database, try_limit_s=0.3)
    async with database.connect() as holder:
        await holder.execute(text("LOCK TABLE sms_alert_log"))
        writing = asyncio.ensure_future(world.take(t.SMS_OUTCOMES, outcome(m.SmsSending, attempt_id="x")))
        await eventually.awaited(lambda: world.availability.tries >= 2)
        assert world.availability.away_s > 0
        await holder.rollback()
    await asyncio.wait_for(writing, 10)
    assert await world.value("SELECT count(*) FROM sms_alert_log") == 1
    assert world.availability.away_s == 0


async def test_a_database_that_is_too_slow_for_a_batch_gets_smaller_ones(database: AsyncEngine) -> None:
    # A row takes a millisecond, so that only 300 of them are through within the limit.
    async with database.begin() as connection:
        await connection.exec_driver_sql(
            "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_sleep(0.001); RETURN new; END'"
        )
        await connection.exec_driver_sql(
            "CREATE TRIGGER slow BEFORE INSERT ON sms_alert_log FOR EACH ROW EXECUTE FUNCTION linger()"
        )
    world = World(database, try_limit_s=0.5)
    await world.take(t.SMS_OUTCOMES, *[outcome(m.SmsSending, attempt_id="x")] * 800)
    assert await world.value("SELECT count(*) FROM sms_alert_log") == 800
    assert world.availability.tries >= 1
    assert not world.availability.away


async def test_a_flow_that_waits_gives_its_batch_back_when_the_partition_must_go(eventually: Eventually) -> None:
    world = World(make_engine(DatabaseSettings(url="postgresql://nobody@/x?host=/nowhere")))
    batch = FakeBatch(records_of(t.SMS_OUTCOMES, outcome(m.SmsSending, attempt_id="x")))
    writing = asyncio.ensure_future(world.flows["sms-outcomes"].handle(cast("Batch", batch)))
    await eventually.awaited(lambda: world.availability.tries >= 1)
    batch.leaving = True
    with pytest.raises(Stale):
        await asyncio.wait_for(writing, 5)


async def test_tables_that_are_not_there_yet_are_waited_for(
    empty_database: AsyncEngine, eventually: Eventually
) -> None:
    world = World(empty_database)
    writing = asyncio.ensure_future(world.take(t.UNIT_AGGREGATES, bucket()))
    await eventually.awaited(lambda: world.availability.tries >= 1)
    await upgrade(empty_database)
    await asyncio.wait_for(writing, 20)
    assert await world.value("SELECT count(*) FROM unit_aggregates") == 1


async def test_a_restored_database_reads_again_what_it_lost(world: World) -> None:
    records = records_of(t.SMS_OUTCOMES, *[outcome(m.SmsSending, attempt_id="x")] * 4)
    await world.record(records[:1])
    world.older = True
    with pytest.raises(Stale):
        await world.record(records[2:])
    assert world.rewound == [("sms-outcomes", 0, 1, 2)]
    assert await world.value("SELECT count(*) FROM sms_alert_log") == 1


async def test_what_the_broker_has_deleted_is_not_waited_for(world: World) -> None:
    records = records_of(t.SMS_OUTCOMES, *[outcome(m.SmsSending, attempt_id="x")] * 4)
    await world.record(records[:1])
    await world.record(records[2:])
    assert await world.rows("SELECT source_offset FROM sms_alert_log ORDER BY 1") == [(0,), (2,), (3,)]
    assert await world.value("SELECT next_offset FROM recorder_offsets") == 4
