"""The SMS provider's webhooks: known by their signature, in Kafka before the answer, each event once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn
from nacl.signing import SigningKey
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.app import create_app
from api.settings import ApiSettings, TrustSettings
from database.engine import DatabaseSettings
from database.queues import WebhookEventRow
from local.ports import free_port
from schemas import messages as m
from tests.api.provider_events import (
    ABOUT,
    ANN,
    OURS,
    PUBLIC_KEY,
    URL,
    answer_of,
    delivery,
    event,
    receipts,
    send,
    signed,
)
from tests.api.provider_events import inbound as sent_in
from tests.api.worlds import furnish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

    from broker.settings import KafkaSettings
    from local.telnyx.client import TelnyxProcess
    from tests.api_world import Api
    from tests.conftest import Eventually

pytestmark = [pytest.mark.anyio, pytest.mark.broker, pytest.mark.postgres]

OCCURRED_MS = 1_772_366_400_250
# Twice the provider's own limit: these tests share their processors with others. Without our limits it would take
# the five seconds that a connection to the database or a delivery to Kafka may take, and more.
SOON_S = 4.0
# An answer that took too long is 503; sent again, the event finds itself taken.
TAKEN = {"receipt", "repeated"}
NOWHERE = DatabaseSettings(url="postgresql://nobody@127.0.0.1:1/nothing")


@pytest.fixture
def kafka_address(kafka_settings: KafkaSettings) -> KafkaSettings:
    return kafka_settings


@pytest.fixture
def trust() -> TrustSettings:
    return TrustSettings(telnyx_public_key=PUBLIC_KEY)


@contextlib.asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.example.com") as client,
    ):
        yield client


def address_of(api: Api) -> DatabaseSettings:
    return DatabaseSettings(url=api.database.url.render_as_string(hide_password=False))


@contextlib.asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """A real server on a free port."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, lifespan="on"))
    task = asyncio.create_task(server._serve())
    try:
        while not server.started:
            assert not task.done()
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


async def test_a_delivery_is_in_kafka_when_the_answer_comes(api: Api) -> None:
    told = delivery("delivery_failed", "40006")
    answer = await send(api.client, told, ABOUT)

    assert answer.status_code == 200, answer.text
    assert answer.json()["result"] in TAKEN
    assert receipts(api.kafka) == [
        m.DeliveryReceipt(
            event_id=told["data"]["id"],
            user_id="ann",
            occurred_at_ms=OCCURRED_MS,
            request_id="r1",
            attempt_id="r1-1",
            provider_message_id="m1",
            status="delivery_failed",
            error_code="40006",
        )
    ]


async def test_a_copy_of_an_event_writes_nothing_twice_also_at_another_process(api: Api) -> None:
    told = delivery()
    at_once = await asyncio.gather(*(send(api.client, told, ABOUT) for _ in range(5)))
    later = await send(api.client, told, ABOUT)
    async with running(
        create_app(ApiSettings(), address_of(api), api.kafka, trust=TrustSettings(telnyx_public_key=PUBLIC_KEY))
    ) as other_process:
        there = await send(other_process, told, ABOUT)

    assert {answer.json()["result"] for answer in at_once} <= TAKEN
    assert (later.json()["result"], there.json()["result"]) == ("repeated", "repeated")
    assert len(receipts(api.kafka)) == 1
    async with AsyncSession(api.database) as session:
        assert list(await session.scalars(select(WebhookEventRow.event_id))) == [told["data"]["id"]]


async def test_a_copy_that_is_sent_to_another_address_tells_of_the_same_attempt(api: Api) -> None:
    told = delivery()
    told["data"]["payload"]["webhook_url"] = f"https://api.example.com{URL}?user=ann&request=r1&attempt=r1-1"
    assert (await send(api.client, told, {"user": "eve", "request": "x", "attempt": "y"})).status_code == 200
    assert [receipt.user_id for receipt in receipts(api.kafka)] == ["ann"]


async def test_an_event_of_an_account_wide_webhook_is_taken_and_leaves_no_record(api: Api) -> None:
    answers = [
        await send(api.client, delivery()),
        await send(api.client, delivery(), {"user": "ann"}),
        await send(api.client, delivery(), ABOUT | {"user": "a" * 202}),
        await send(api.client, event("message.some_day", {"anything": 1}), ABOUT),
    ]
    results = [(answer.status_code, answer.json()["result"]) for answer in answers]
    assert results == [(200, "unaddressed")] * 3 + [(200, "ignored")]
    assert receipts(api.kafka) == []


@pytest.mark.parametrize(
    ("change", "status", "slug"),
    [
        ({"body": b" "}, 403, "webhook-signature"),
        ({"stamp_later_s": 5}, 403, "webhook-signature"),
        ({"headers": {"telnyx-signature-ed25519": ""}}, 403, "webhook-signature"),
        ({"headers": {"telnyx-signature-ed25519": "not base64!"}}, 403, "webhook-signature"),
        ({"secret": SigningKey(b"q" * 32)}, 403, "webhook-signature"),
        ({"age_s": 301}, 400, "webhook-stale"),
        ({"age_s": -360}, 400, "webhook-stale"),
    ],
)
async def test_what_is_not_the_providers_own_is_refused(
    api: Api, change: dict[str, Any], status: int, slug: str, capfd: pytest.CaptureFixture[str]
) -> None:
    body = json.dumps(delivery()).encode()
    headers = signed(body, time.time() - change.get("age_s", 0), **{k: v for k, v in change.items() if k == "secret"})
    headers["telnyx-timestamp"] = str(int(headers["telnyx-timestamp"]) + change.get("stamp_later_s", 0))
    answer = await api.client.post(
        URL, content=body + change.get("body", b""), params=ABOUT, headers=headers | change.get("headers", {})
    )

    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:freshtrack:{slug}"), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert receipts(api.kafka) == []
    logged = "".join(capfd.readouterr())
    assert headers["telnyx-signature-ed25519"] not in logged
    assert ANN not in logged


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 422),
        (b'{"data":{"event_type":"message.sent"}}', 422),
        (b'{"data":{"event_type":"message.sent","id":"e\\u0000"}}', 422),
        (json.dumps(event("message.finalized", {"id": "m1", "to": []})).encode(), 422),
        (json.dumps(event("message.finalized", {"id": "m1", "to": "ann"})).encode(), 422),
        (b'{"data":' * 5_000, 400),
        (b" " * 262_145, 413),
    ],
)
async def test_a_body_that_is_no_event_is_refused_with_its_reason(api: Api, body: bytes, status: int) -> None:
    answer = await api.client.post(URL, content=body, params=ABOUT, headers=signed(body))
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert answer.json()["detail"]


async def test_without_the_providers_key_the_answer_names_the_way_out(api: Api) -> None:
    async with running(create_app(ApiSettings(), NOWHERE, api.kafka, trust=TrustSettings())) as client:
        answer = await send(client, delivery(), ABOUT, attempts=1)
    assert answer.status_code == 503
    assert "Set TELNYX_PUBLIC_KEY" in answer.json()["detail"]


async def test_receipts_and_replies_flow_without_the_database(api: Api) -> None:
    trust = TrustSettings(telnyx_public_key=PUBLIC_KEY)
    told = delivery()
    async with running(create_app(ApiSettings(), NOWHERE, api.kafka, trust=trust)) as client:
        results = [(await send(client, told, ABOUT)).json()["result"] for _ in range(3)]
        inbound = await send(client, answer_of(ANN, "ACK 4821"), attempts=1)

    assert results[0] in TAKEN
    assert results[1:] == ["repeated", "repeated"]
    assert (inbound.status_code, inbound.json()["result"]) == (200, "reply")
    assert [sms.text for sms in sent_in(api.kafka)] == ["ACK 4821"]
    assert [receipt.event_id for receipt in receipts(api.kafka)] == [told["data"]["id"]]


async def test_a_database_that_hangs_does_not_keep_the_provider_waiting(api: Api) -> None:
    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    hanging = DatabaseSettings(url=f"postgresql://nobody@127.0.0.1:{port}/nothing")
    trust = TrustSettings(telnyx_public_key=PUBLIC_KEY)
    async with running(create_app(ApiSettings(), hanging, api.kafka, trust=trust)) as client:
        first = await send(client, delivery(), ABOUT)
        begin = time.monotonic()
        inbound = await send(client, answer_of(ANN, "ACK"), attempts=1)
        took_s = time.monotonic() - begin
        later = await send(client, delivery(), ABOUT)
    for writer in held:
        writer.close()
    server.close()
    assert (first.status_code, inbound.status_code, later.status_code) == (200, 200, 200)
    assert took_s < SOON_S
    assert len(receipts(api.kafka)) == 2


async def test_with_the_broker_away_the_provider_is_told_in_time_to_send_again(api: Api) -> None:
    nobody = type(api.kafka)(bootstrap_servers="127.0.0.1:1")
    trust = TrustSettings(telnyx_public_key=PUBLIC_KEY)
    told = delivery()
    async with running(create_app(ApiSettings(delivery_limit_s=1), address_of(api), nobody, trust=trust)) as client:
        begin = time.monotonic()
        refused = await send(client, told, ABOUT, attempts=1)
        assert time.monotonic() - begin < SOON_S
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")

    assert (await send(api.client, told, ABOUT)).json()["result"] in TAKEN
    assert len(receipts(api.kafka)) == 1


async def test_the_providers_own_webhooks_reach_the_topic(
    api: Api, telnyx: TelnyxProcess, eventually: Eventually
) -> None:
    """The fake provider over real HTTP: a message is sent and delivered, then its receiver answers."""
    await furnish(api.database)
    trust = TrustSettings(telnyx_public_key=telnyx.public_key)
    async with serving(create_app(ApiSettings(), address_of(api), api.kafka, trust=trust)) as url:
        async with httpx.AsyncClient(trust_env=False) as client:
            message = {
                "from": OURS,
                "to": ANN,
                "text": "Fridge 9.5 C. Reply ACK 4821",
                "messaging_profile_id": "p",
                "webhook_url": f"{url}{URL}?user=ann&request=r1&attempt=r1-1",
            }
            key = {"Authorization": f"Bearer {telnyx.api_key}"}
            sent = await client.post(f"{telnyx.url}/v2/messages", json=message, headers=key)
            assert sent.status_code == 200, sent.text
        await asyncio.to_thread(telnyx.answer_sms, ANN, "ack 4821")

        def answered() -> bool:
            return len({delivery.event_id for delivery in telnyx.log().deliveries if delivery.status == 200}) == 3

        await eventually.awaited(lambda: asyncio.to_thread(answered), within_s=20)

    found = receipts(api.kafka)
    delivered = [receipt for receipt in found if isinstance(receipt, m.DeliveryReceipt)]
    assert [(receipt.request_id, receipt.status) for receipt in delivered] == [("r1", "sent"), ("r1", "delivered")]
    assert {receipt.provider_message_id for receipt in delivered} == {sent.json()["data"]["id"]}
    assert [(sms.phone_e164, sms.text) for sms in sent_in(api.kafka)] == [(ANN, "ack 4821")]
