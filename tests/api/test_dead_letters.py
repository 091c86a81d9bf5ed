"""Dead letters by HTTP: seen, sent again once, and never twice."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from database.declarative import from_ms, to_ms
from database.records import AlertRow, JobFailureRow
from domain.redrive.dead_letters import NAMES
from schemas import messages as m
from schemas.http.dead_letters import DeadLetterKind
from schemas.roles import Role
from schemas.topics import DEAD_LETTER_SETTLEMENTS, SMS_LANES
from tests.api.topic_records import records
from tests.api.worlds import alert, failure
from tests.domain.redrive.letters import batch, dead_reading, letter
from tests.outbox.relays import emptied, relaying

if TYPE_CHECKING:
    from broker.settings import KafkaSettings
    from tests.api_world import Api
    from tests.conftest import Eventually

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def put(api: Api, offset: int, dead: msgspec.Struct, age: timedelta = timedelta(), **fields: Any) -> None:
    """What the recorder would write for this letter, given up `age` ago."""
    # As everything that comes from Kafka, to the millisecond.
    at = from_ms(to_ms(datetime.now(UTC) - age))
    dead = msgspec.structs.replace(dead, at_ms=to_ms(at))
    known: dict[str, Any] = {"failed_at": at, "payload": m.encode(dead), "user_id": "acme/ann", "reason": "exhausted"}
    async with AsyncSession(api.database) as session, session.begin():
        session.add(failure(offset, **known | fields))


async def ops(api: Api) -> dict[str, str]:
    return await api.key(Role.OPS, "acme")


async def rows(api: Api) -> list[JobFailureRow]:
    async with AsyncSession(api.database) as session:
        return list(await session.scalars(select(JobFailureRow).order_by(JobFailureRow.failure_id)))


def test_the_kinds_by_http_are_those_that_are_registered() -> None:
    assert {kind.value for kind in DeadLetterKind} == set(NAMES)


async def test_a_list_tells_what_a_retry_would_be_told_and_shows_no_number(api: Api) -> None:
    key = await ops(api)
    await put(api, 1, letter(), error="+12025550123 is not reachable", redrives=0)
    await put(api, 2, letter(), timedelta(hours=25))
    await put(
        api, 3, dead_reading(None, "null_value"), timedelta(hours=1), source_topic="readings-dlq", lane="readings"
    )
    async with AsyncSession(api.database) as session, session.begin():
        session.add(failure(4, payload=b"{", failed_at=datetime.now(UTC) - timedelta(hours=2)))

    shown = (await api.client.get("/v1/dead-letters", headers=key)).json()["items"]

    assert [row["letter"] for row in shown] == ["sms-dlq/0/1", "readings-dlq/0/3", "sms-dlq/0/4", "sms-dlq/0/2"]
    assert [row["kind"] for row in shown] == ["sms", "readings", None, "sms"]
    assert [row["refusal"] and row["refusal"]["reason"] for row in shown] == [
        None,
        "not_redrivable",
        "not_redrivable",
        "stale",
    ]
    assert shown[0]["error"] == "+12*******23 is not reachable"
    assert (shown[0]["alert_id"], shown[0]["attempts"]) == ("a1", 3)


FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [1, 2, 3]),
    ({"kind": "readings"}, [3]),
    ({"kind": "email"}, []),
    ({"lane": "sms-critical"}, [1, 2]),
    ({"reason": "recipient"}, [2]),
    ({"error_code": "40001"}, [1]),
    ({"user_id": "bob"}, [2]),
    ({"settled": "true"}, [2]),
    ({"settled": "false"}, [1, 3]),
    ({"until": "2026-01-01T00:00:00Z"}, []),
    ({"since": "2026-01-01T00:00:00Z", "limit": 1}, [1]),
]


async def test_dead_letters_are_filtered(api: Api) -> None:
    key = await ops(api)
    await put(api, 1, letter(), error_code="40001")
    await put(
        api, 2, letter(), timedelta(hours=1), user_id="acme/bob", reason="recipient", settled_at=datetime.now(UTC)
    )
    await put(api, 3, dead_reading(b"{}"), timedelta(hours=2), source_topic="readings-dlq", lane="readings")
    for query, offsets in FILTERS:
        shown = (await api.client.get("/v1/dead-letters", params=query, headers=key)).json()["items"]
        assert [int(row["letter"].split("/")[2]) for row in shown] == offsets, query


async def test_pages_hold_each_letter_once(api: Api) -> None:
    key = await ops(api)
    for offset in range(5):
        await put(api, offset, letter())
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await api.client.get("/v1/dead-letters", params={"limit": 2, **cursor}, headers=key)).json()
        seen += [row["letter"] for row in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert sorted(seen) == [f"sms-dlq/0/{offset}" for offset in range(5)]


async def test_a_retry_settles_the_letter_and_leaves_its_request_to_the_relay(api: Api) -> None:
    key = await ops(api)
    await put(api, 1, letter(redrives=1, severity=m.Severity.CRITICAL), redrives=1)

    answer = await api.client.post("/v1/dead-letters/1/retry", headers=key)

    assert answer.status_code == 202, answer.text
    assert (answer.json()["sent_to"], answer.json()["redrives"]) == ("sms-critical", 2)
    (lane, user, request), (_, place, mark) = await api.outbox()
    assert request is not None
    assert mark is not None
    assert (lane, user, request["attempts"], request["redrives"]) == ("sms-critical", "ann", 0, 2)
    assert (place, mark["message_id"]) == ("sms-dlq/0/1", answer.json()["message_id"])
    [row] = await rows(api)
    assert row.settled_at is not None
    assert (row.settled_by, row.redrives) == (mark["by"], 2)


async def test_a_second_retry_is_told_so_and_sends_nothing(api: Api) -> None:
    key = await ops(api)
    await put(api, 1, letter())
    first = await api.client.post("/v1/dead-letters/1/retry", headers=key | {"Idempotency-Key": "k"})
    replayed = await api.client.post("/v1/dead-letters/1/retry", headers=key | {"Idempotency-Key": "k"})
    second = await api.client.post("/v1/dead-letters/1/retry", json={"force": True}, headers=key)

    assert replayed.json() == first.json()
    assert (second.status_code, second.json()["reason"], second.json()["forcible"]) == (409, "settled", False)
    assert len(await api.outbox()) == 2


async def test_a_dry_run_of_one_says_what_would_be_sent_and_sends_nothing(api: Api) -> None:
    key = await ops(api)
    await put(api, 1, letter())
    dry = await api.client.post("/v1/dead-letters/1/retry", json={"dry_run": True}, headers=key)
    assert (dry.status_code, await api.outbox()) == (200, [])
    done = await api.client.post("/v1/dead-letters/1/retry", headers=key)
    assert (done.status_code, done.json()) == (202, dry.json())


async def test_of_two_retries_at_once_one_sends(api: Api) -> None:
    key = await ops(api)
    await put(api, 1, letter())
    answers = await asyncio.gather(*(api.client.post("/v1/dead-letters/1/retry", headers=key) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
    assert len(await api.outbox()) == 2


@pytest.mark.parametrize("reason", ["stale", "loop", "alert_resolved", "alert_acknowledged"])
async def test_what_speaks_against_it_is_named_and_can_be_forced(api: Api, reason: str) -> None:
    key = await ops(api)
    age = timedelta(hours=25 if reason == "stale" else 0)
    await put(api, 1, letter(redrives=5 if reason == "loop" else 0), age)
    async with AsyncSession(api.database) as session, session.begin():
        session.add(alert("a1"))
        await session.flush()
        if reason == "alert_resolved":
            await session.execute(update(AlertRow).values(resolved_at=datetime.now(UTC)))
        if reason == "alert_acknowledged":
            await session.execute(update(AlertRow).values(acknowledged_at=datetime.now(UTC), acknowledged_by="bob"))

    refused = await api.client.post("/v1/dead-letters/1/retry", headers=key)
    assert (refused.status_code, refused.json()["reason"], refused.json()["forcible"]) == (409, reason, True)
    assert "force" in refused.json()["detail"]
    assert await api.outbox() == []

    forced = await api.client.post("/v1/dead-letters/1/retry", json={"force": True}, headers=key)
    assert forced.status_code == 202


async def test_a_filtered_retry_only_tells_until_it_is_no_dry_run(api: Api) -> None:
    key = await ops(api)
    await put(api, 1, letter(request_id="r1"))
    await put(api, 2, letter(request_id="r2"), timedelta(hours=30))
    await put(api, 3, letter(request_id="r3"), user_id="acme/bob")

    dry = (await api.client.post("/v1/dead-letters/retry", json={"user_id": "ann"}, headers=key)).json()
    assert (dry["dry_run"], dry["sent_again"], dry["refused"]) == (True, 1, 1)
    assert [item["refusal"] and item["refusal"]["reason"] for item in dry["items"]] == [None, "stale"]
    assert await api.outbox() == []

    order = {"user_id": "ann", "dry_run": False}
    done = (await api.client.post("/v1/dead-letters/retry", json=order, headers=key)).json()
    again = (await api.client.post("/v1/dead-letters/retry", json=order, headers=key)).json()

    assert done == dry | {"dry_run": False}
    assert (again["sent_again"], again["refused"]) == (0, 1)
    assert [topic for topic, _, _ in await api.outbox()] == ["sms-warning", "dead-letter-settlements"]
    assert [row.settled_at is not None for row in await rows(api)] == [True, False, False]


async def test_a_call_takes_so_many_and_says_where_to_go_on(api: Api) -> None:
    key = await ops(api)
    for offset in range(5):
        await put(api, offset, letter(request_id=f"r{offset}"))
    seen: list[str] = []
    after: dict[str, int] = {}
    for _ in range(3):
        order = {"limit": 2, "dry_run": False, **after}
        report = (await api.client.post("/v1/dead-letters/retry", json=order, headers=key)).json()
        seen += [item["letter"] for item in report["items"]]
        after = {"after_failure_id": report["next_after"]}
    assert after == {"after_failure_id": None}
    assert seen == [f"sms-dlq/0/{offset}" for offset in range(5)]
    assert len(await api.outbox()) == 10


async def test_dead_letters_that_name_no_organization_are_seen_and_retried_by_operators_alone(api: Api) -> None:
    await put(api, 1, letter())
    await put(api, 2, dead_reading(batch((0, 4.0))), source_topic="readings-dlq", lane="readings", organization_id=None)
    operator, admin = await api.key(Role.ADMIN, None), await api.key(Role.ADMIN, "acme")

    for headers, seen in (
        (operator, ["readings-dlq/0/2"]),
        (operator | {"FreshTrack-Organization": "acme"}, ["sms-dlq/0/1"]),
        (admin, ["sms-dlq/0/1"]),
        (admin | {"FreshTrack-Organization": ""}, ["sms-dlq/0/1"]),
    ):
        shown = (await api.client.get("/v1/dead-letters", headers=headers)).json()["items"]
        assert [row["letter"] for row in shown] == seen
    assert (await api.client.post("/v1/dead-letters/2/retry", headers=admin)).status_code == 404
    assert (await api.client.post("/v1/dead-letters/1/retry", headers=operator)).status_code == 404
    assert (await api.client.post("/v1/dead-letters/2/retry", headers=operator)).status_code == 202
    assert (await api.client.get("/v1/alerts", headers=operator)).status_code == 400


@pytest.mark.broker
async def test_the_relay_brings_it_to_its_lane_and_the_mark_to_whoever_asks_kafka(
    api: Api, kafka_settings: KafkaSettings, eventually: Eventually
) -> None:
    key = await ops(api)
    await put(api, 7, letter())
    await put(api, 8, dead_reading(batch((0, 4.0))), source_topic="readings-dlq", lane="readings")
    told = (await api.client.post("/v1/dead-letters/retry", json={"dry_run": False}, headers=key)).json()

    async with relaying(api.database, kafka_settings):
        await eventually.awaited(emptied(api.database))

    [sms] = records(kafka_settings, SMS_LANES[m.Severity.WARNING])
    assert sms.key == "ann"
    assert sms.headers["id"] == told["items"][0]["again"]["message_id"]
    assert (sms.headers["type"], sms.headers["attempt"]) == ("sms", "0")
    assert (sms.headers["original-topic"], sms.headers["original-offset"]) == ("sms-dlq", "7")
    marks = [DEAD_LETTER_SETTLEMENTS.decode(mark.value) for mark in records(kafka_settings, DEAD_LETTER_SETTLEMENTS)]
    assert {mark.letter_id: mark.sent_to for mark in marks} == {
        "sms-dlq/0/7": "sms-warning",
        "readings-dlq/0/8": "readings",
    }
