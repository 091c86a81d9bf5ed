"""The revision that qualifies ids: rows, references, and what is kept of messages."""

from __future__ import annotations

import base64
import json
import zlib
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from sqlalchemy import text

from database.upgrade import upgrade

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

BEFORE = "r0017"
SMS = {"type": "sms", "request_id": "r1", "unit_id": "fridge", "organization_id": "acme", "user_id": "ann"}
RECORD = b'{"unit_id":"fridge","readings":[]}'
DEAD_READING = {"type": "dead_reading", "value_base64": base64.b64encode(RECORD).decode(), "value_bytes": len(RECORD)}
REPORT = {
    "units": [{"unit_id": "fridge", "name": "Fridge"}],
    "alerts": [{"unit_id": "fridge", "acknowledged_by": "ann"}],
}

ROWS = (
    "INSERT INTO organizations (organization_id, name, fallback_user_id) VALUES ('acme', 'Acme', 'ann')",
    "INSERT INTO users (user_id, organization_id, name) VALUES ('ann', 'acme', 'Ann')",
    "INSERT INTO units (unit_id, organization_id, name) VALUES ('fridge', 'acme', 'Fridge')",
    "INSERT INTO rules (unit_id, rule_id, limit_side, severity, limit_c) VALUES ('fridge', 'high', 'high', 'info', 8)",
    "INSERT INTO escalation_steps (user_id, organization_id, level) VALUES ('ann', 'acme', 2)",
    (
        "INSERT INTO digest_preferences (user_id, organization_id, cadences, timezone, units)"
        " VALUES ('ann', 'acme', '{daily}', 'UTC', '{\"daily\": [\"fridge\"]}')"
    ),
    (
        "INSERT INTO alerts (alert_id, unit_id, organization_id, rule_id, kind, severity, started_at, triggered_at,"
        " acknowledged_by) VALUES ('a1', 'fridge', 'acme', 'high', 'temperature_high', 'info', now(), now(), 'key:k1')"
    ),
)


async def with_rows(connection: AsyncConnection) -> None:
    for row in ROWS:
        await connection.exec_driver_sql(row)
    await connection.execute(
        text(
            "INSERT INTO sms_requests (request_id, alert_id, organization_id, user_id, requested_at, level, text,"
            " redrives, payload) VALUES ('r1', 'a1', 'acme', 'ann', now(), 1, 'Hot', 0, :payload)"
        ),
        {"payload": json.dumps(SMS).encode()},
    )
    for offset, payload in enumerate((DEAD_READING, {"type": "sms_dead", "request": SMS}, None)):
        await connection.execute(
            text(
                "INSERT INTO job_failures (organization_id, user_id, lane, reason, payload, failed_at, source_topic,"
                " source_partition, source_offset) VALUES ('acme', 'ann', 'l', 'r', :payload, now(), 't', 0, :offset)"
            ),
            {"payload": b"\xff no JSON" if payload is None else json.dumps(payload).encode(), "offset": offset},
        )
    for topic, key, value in (("sms-info", "ann", SMS), ("units", "gone", None)):
        await connection.execute(
            text(
                "INSERT INTO outbox (message_id, topic, key, type, value, traceparent)"
                " VALUES ('m', :topic, :key, 't', :value, 'tp')"
            ),
            {"topic": topic, "key": key, "value": value and json.dumps(value).encode()},
        )
    await connection.execute(
        text(
            "INSERT INTO digest_reports (job_id, organization_id, cadence, timezone, period_starts_at, period_ends_at,"
            " asked_for, as_of, complete, recorded_until, content)"
            " VALUES ('j', 'acme', 'daily', 'UTC', now(), now(), false, now(), true, now(), :content)"
        ),
        {"content": zlib.compress(msgspec.msgpack.encode(REPORT))},
    )


async def test_rows_references_and_kept_messages_get_qualified_ids(empty_database: AsyncEngine) -> None:
    await upgrade(empty_database, BEFORE)
    async with empty_database.begin() as connection:
        await with_rows(connection)

    await upgrade(empty_database)

    async with empty_database.connect() as connection:

        async def of(statement: str) -> Any:
            return [tuple(row) for row in await connection.execute(text(statement))]

        assert await of("SELECT fallback_user_id FROM organizations") == [("acme/ann",)]
        assert await of("SELECT user_id FROM users JOIN escalation_steps USING (user_id)") == [("acme/ann",)]
        assert await of("SELECT unit_id FROM units JOIN rules USING (unit_id)") == [("acme/fridge",)]
        assert await of("SELECT user_id, former_id, units FROM digest_preferences") == [
            ("acme/ann", "ann", {"daily": ["acme/fridge"]})
        ]
        assert await of("SELECT unit_id, acknowledged_by FROM alerts") == [("acme/fridge", "key:k1")]
        [(payload,)] = await of("SELECT payload FROM sms_requests")
        assert json.loads(payload) == SMS | {"unit_id": "acme/fridge", "user_id": "acme/ann"}
        reading, sms, unreadable = await of("SELECT payload FROM job_failures ORDER BY source_offset")
        assert json.loads(base64.b64decode(json.loads(reading[0])["value_base64"]))["unit_id"] == "acme/fridge"
        assert json.loads(sms[0])["request"]["user_id"] == "acme/ann"
        assert unreadable == (b"\xff no JSON",)
        assert await of("SELECT topic, key, value IS NULL FROM outbox ORDER BY sequence") == [
            ("sms-info", "acme/ann", False),
            ("units", "gone", True),
        ]
        [(content,)] = await of("SELECT content FROM digest_reports")
        report = msgspec.msgpack.decode(zlib.decompress(content))
        assert report["alerts"] == [{"unit_id": "acme/fridge", "acknowledged_by": "acme/ann"}]
        assert await of("SELECT count(*) FROM audit_trail WHERE action LIKE '%changed'") == [(0,)]
