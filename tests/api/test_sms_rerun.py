"""A finished SMS, sent again by HTTP: once, by those who may, and whatever becomes of Kafka."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from database.declarative import from_ms
from database.notifications import SmsRequestRow
from schemas import messages as m
from schemas.roles import Role
from schemas.topics import SMS_WARNING
from tests.api.topic_records import records
from tests.api.worlds import decision
from tests.domain.redrive.letters import request
from tests.outbox.relays import emptied, relaying

if TYPE_CHECKING:
    import httpx

    from broker.settings import KafkaSettings
    from tests.api_world import Api
    from tests.conftest import Eventually

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def record(api: Api, request_id: str, *outcomes: str, **fields: Any) -> m.SmsRequest:
    """What the recorder would write about a request, and decisions about it."""
    wanted = request(**{"request_id": request_id, "requested_at_ms": now_ms()} | fields)
    async with AsyncSession(api.database) as session, session.begin():
        session.add(
            SmsRequestRow(
                request_id=request_id,
                alert_id=wanted.alert_id,
                organization_id=wanted.organization_id,
                user_id=wanted.user_id,
                requested_at=from_ms(wanted.requested_at_ms),
                level=wanted.level,
                text=wanted.text,
                redrives=wanted.redrives,
                payload=m.encode(wanted),
            )
        )
    for outcome in outcomes:
        await decided(api, request_id, outcome)
    return wanted


async def decided(api: Api, request_id: str, outcome: str) -> None:
    async with AsyncSession(api.database) as session, session.begin():
        session.add(decision(outcome, request_id=request_id, at=from_ms(now_ms())))


async def rerun(api: Api, role: Role, request_id: str, organization: str = "acme", **order: Any) -> httpx.Response:
    key = await api.key(role, organization)
    return await api.client.post(f"/v1/sms/{request_id}/rerun", json=order or None, headers=key)


async def test_a_delivered_sms_goes_once_more_and_not_a_third_time_before_that_one_ended(api: Api) -> None:
    await record(api, "s1", "sent", "delivered")

    first = await rerun(api, Role.OPS, "s1")
    second = await rerun(api, Role.ADMIN, "s1")
    assert (first.status_code, first.json()["sent_to"], first.json()["redrives"]) == (202, "sms-warning", 1)
    assert (second.status_code, second.json()["reason"]) == (409, "under_way")
    [(topic, user, sent)] = await api.outbox()
    assert sent is not None
    assert (topic, user, sent["redrives"], sent["text"]) == ("sms-warning", "ann", 1, "Fridge is at 9 C")

    await decided(api, "s1", "delivered")
    assert (await rerun(api, Role.OPS, "s1")).json()["redrives"] == 2


async def test_of_two_reruns_at_once_one_sends(api: Api) -> None:
    await record(api, "s1", "delivered")
    answers = await asyncio.gather(*(rerun(api, Role.OPS, "s1") for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
    assert len(await api.outbox()) == 1


async def test_a_dry_run_says_what_would_be_sent_and_sends_nothing(api: Api) -> None:
    await record(api, "s1", "delivered")
    dry = await rerun(api, Role.OPS, "s1", dry_run=True)
    assert (dry.status_code, await api.outbox()) == (200, [])
    done = await rerun(api, Role.OPS, "s1")
    assert (done.status_code, done.json()) == (202, dry.json())


@pytest.mark.parametrize(
    ("whose", "role", "status"),
    [("acme", Role.MEMBER, 403), ("acme", Role.GATEWAY, 403), ("other", Role.ADMIN, 404)],
)
async def test_others_neither_see_nor_send_it(api: Api, whose: str, role: Role, status: int) -> None:
    await record(api, "s1", "delivered")
    assert (await rerun(api, role, "s1", whose)).status_code == status
    assert (await api.client.post("/v1/sms/s1/rerun")).status_code == 401
    assert await api.outbox() == []


async def test_a_rerun_that_makes_no_sense_is_refused_by_name(api: Api) -> None:
    await record(api, "s-old", "delivered", requested_at_ms=now_ms() - 25 * 3_600_000)
    await record(api, "s-dead", "failed", "dead")
    await record(api, "s-waits", "failed", "retry_scheduled")
    await record(api, "s-new")

    told = {name: await rerun(api, Role.OPS, name) for name in ("s-old", "s-dead", "s-waits", "s-new", "s-none")}

    assert [answer.status_code for answer in told.values()] == [409, 409, 409, 409, 404]
    reasons = [answer.json().get("reason") for answer in told.values()]
    assert reasons == ["stale", "dead", "under_way", "under_way", None]
    assert (await rerun(api, Role.OPS, "s-old", max_age_h=26.0)).status_code == 202


@pytest.mark.broker
async def test_the_relay_brings_it_to_its_lane(api: Api, kafka_settings: KafkaSettings, eventually: Eventually) -> None:
    wanted = await record(api, "s1", "delivered")
    answer = await rerun(api, Role.OPS, "s1")
    async with relaying(api.database, kafka_settings):
        await eventually.awaited(emptied(api.database))
    [sms] = records(kafka_settings, SMS_WARNING)
    assert (sms.headers["id"], sms.headers["attempt"]) == (answer.json()["message_id"], "0")
    assert (sms.value or b"").replace(b'"redrives":1', b'"redrives":0') == m.encode(wanted)
