"""An SMS that was done with, sent again by HTTP: found in its lane, once, by those who may."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from database.declarative import from_ms
from producers.kafka import KafkaProducer
from schemas.roles import Role
from schemas.topics import SMS_OUTCOMES
from tests.api.worlds import decision
from tests.outbox.letter_box import LetterBox, decided
from tests.outbox.relays import emptied, relaying

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from broker.settings import KafkaSettings
    from schemas import messages as m
    from tests.api_world import Api
    from tests.conftest import Eventually

pytestmark = [pytest.mark.anyio, pytest.mark.broker, pytest.mark.postgres]


@pytest.fixture
def kafka_address(kafka_settings: KafkaSettings) -> KafkaSettings:
    return kafka_settings


@pytest.fixture
def box(kafka_settings: KafkaSettings) -> Iterator[LetterBox]:
    with KafkaProducer(kafka_settings.librdkafka(), prefix=kafka_settings.topic_prefix) as producer:
        yield LetterBox(kafka_settings, producer, topics=[SMS_OUTCOMES])


async def record(api: Api, request: m.SmsRequest, outcome: str) -> None:
    """What the recorder would write about the request."""
    async with AsyncSession(api.database) as session, session.begin():
        session.add(decision(outcome, request_id=request.request_id, severity=request.severity, at=from_ms(now_ms())))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def rerun(api: Api, role: Role, request_id: str, organization: str = "acme", **order: Any) -> httpx.Response:
    key = await api.key(role, organization)
    return await api.client.post(f"/v1/sms/{request_id}/rerun", json=order or None, headers=key)


async def test_a_delivered_sms_goes_once_more_and_not_a_third_time_before_that_one_ended(
    api: Api, box: LetterBox, eventually: Eventually
) -> None:
    request = box.sent_sms("s1", "delivered")
    await record(api, request, "delivered")

    first = await rerun(api, Role.OPS, "s1")
    waiting = await rerun(api, Role.OPS, "s1", force=True)
    assert (first.status_code, first.json()["sent_to"], first.json()["redrives"]) == (202, "sms-warning", 1)
    assert (waiting.status_code, waiting.json()["reason"]) == (409, "under_way")
    assert len(await api.outbox()) == 1

    async with relaying(api.database, box.kafka):
        await eventually.awaited(emptied(api.database))
    running = await rerun(api, Role.ADMIN, "s1")
    assert (running.status_code, running.json()["reason"]) == (409, "under_way")
    old, new = box.in_lane()
    assert (new.headers["id"], new.headers["attempt"]) == (first.json()["message_id"], "0")
    assert (old.value or b"").replace(b'"redrives":0', b'"redrives":1') == new.value

    box.put_outcome(decided(request, "delivered"))
    assert (await rerun(api, Role.OPS, "s1")).json()["redrives"] == 2


@pytest.mark.parametrize(
    ("whose", "role", "status"),
    [("acme", Role.MEMBER, 403), ("acme", Role.GATEWAY, 403), ("other", Role.ADMIN, 404)],
)
async def test_others_neither_see_nor_send_it(api: Api, box: LetterBox, whose: str, role: Role, status: int) -> None:
    await record(api, box.sent_sms("s1", "delivered"), "delivered")
    assert (await rerun(api, role, "s1", whose)).status_code == status
    assert (await api.client.post("/v1/sms/s1/rerun")).status_code == 401
    assert await api.outbox() == []


async def test_a_rerun_that_makes_no_sense_is_refused_by_name(api: Api, box: LetterBox) -> None:
    old = box.sent_sms("s-old", "delivered", requested_at_ms=now_ms() - 25 * 3_600_000)
    await record(api, old, "delivered")
    await record(api, box.sent_sms("s-dead", "dead"), "dead")
    await record(api, box.sent_sms("s-waits", "retry_scheduled"), "retry_scheduled")
    async with AsyncSession(api.database) as session, session.begin():
        session.add(decision("sent", request_id="s-gone"))

    told = {name: await rerun(api, Role.OPS, name) for name in ("s-old", "s-dead", "s-waits", "s-gone", "s-none")}

    assert [answer.status_code for answer in told.values()] == [409, 409, 409, 409, 404]
    assert [answer.json().get("reason") for answer in told.values()] == ["stale", "dead", "under_way", "gone", None]
    assert (await rerun(api, Role.OPS, "s-old", max_age_h=26.0)).status_code == 202
