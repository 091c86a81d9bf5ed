"""Vendors' webhooks: readings of the key's own units reach Kafka, everything else says why not."""

from __future__ import annotations

import hashlib
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import jwt
import msgspec
import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from api.settings import TrustSettings
from database.configuration import UnitRow
from schemas import messages as m
from schemas.roles import Role
from schemas.topics import READINGS
from tests.api.topic_records import records

if TYPE_CHECKING:
    import httpx

    from broker.settings import KafkaSettings
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.broker, pytest.mark.postgres]

THINGS, DISRUPTIVE = "/v1/webhooks/the-things-stack", "/v1/webhooks/disruptive"
SECRET = "the signature secret of a data connector"


@pytest.fixture
def kafka_address(kafka_settings: KafkaSettings) -> KafkaSettings:
    return kafka_settings


@pytest.fixture
async def gateway(api: Api) -> dict[str, str]:
    """The unit dev-1 is called as its device, the freezer names its device, and theirs belongs to somebody else."""
    async with AsyncSession(api.database) as session, session.begin():
        session.add(UnitRow(unit_id="acme/dev-1", organization_id="acme", name="Fridge"))
        session.add(UnitRow(unit_id="acme/freezer", organization_id="acme", name="Freezer", device_id="emuc16e9"))
        session.add(UnitRow(unit_id="other/theirs", organization_id="other", name="Theirs", device_id="dev-2"))
    return await api.key(Role.GATEWAY, "acme")


def now() -> str:
    return datetime.now(UTC).isoformat()


def uplink(device_id: str, celsius: Any, at: str | None = None) -> dict[str, Any]:
    return {
        "end_device_ids": {"device_id": device_id},
        "uplink_message": {"decoded_payload": {"temperature": celsius}, "received_at": at or now()},
    }


def dt_event(device_id: str, kind: str = "temperature", celsius: float = -18.5) -> dict[str, Any]:
    samples = [{"value": celsius, "sampleTime": now()}]
    data = {kind: {"value": celsius, "updateTime": now(), "samples": samples}}
    target = f"projects/p1/devices/{device_id}"
    return {"event": {"eventId": "e1", "targetName": target, "eventType": kind, "data": data}, "labels": {}}


def arrived(api: Api) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for record in records(api.kafka, READINGS):
        batch = msgspec.json.decode(record.value or b"", type=m.ReadingBatch)
        found.setdefault(record.key, []).extend(reading.temperature_c for reading in batch.readings)
    return found


async def test_a_devices_readings_reach_the_unit_of_its_name_or_the_one_that_names_it(
    api: Api, gateway: dict[str, str]
) -> None:
    things = await api.client.post(THINGS, json=uplink("dev-1", 4.5), headers=gateway)
    disruptive = await api.client.post(DISRUPTIVE, json=dt_event("emuc16e9"), headers=gateway)

    taken = {"accepted": 1, "refused": 0, "refusals": [], "nothing_because": None}
    assert (things.status_code, things.json()) == (202, {"device_id": "dev-1", "unit_id": "dev-1", **taken})
    assert (disruptive.status_code, disruptive.json()) == (
        202,
        {"device_id": "emuc16e9", "unit_id": "freezer", **taken},
    )
    assert arrived(api) == {"acme/dev-1": [4.5], "acme/freezer": [-18.5]}


async def test_the_webhooks_address_may_name_the_field(api: Api, gateway: dict[str, str]) -> None:
    payload = uplink("dev-1", 21.0)
    payload["uplink_message"]["decoded_payload"]["inside"] = 4.5
    await api.client.post(THINGS, params={"field": "inside"}, json=payload, headers=gateway)
    assert arrived(api) == {"acme/dev-1": [4.5]}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (uplink("nowhere", 4.0), "unknown_unit"),
        # another organization's, by its own name and by its device's
        (uplink("theirs", 4.0), "unknown_unit"),
        (uplink("dev-2", 4.0), "unknown_unit"),
        (uplink("dev-1", 327.67), "impossible_temperature"),
        (uplink("dev-1", 4.0, "2126-03-01T12:00:00Z"), "future_time"),
        (uplink("dev-1", 4.0, "1999-03-01T12:00:00Z"), "wrong_shape"),
    ],
)
async def test_what_cannot_be_taken_is_answered_with_its_reason(
    api: Api, gateway: dict[str, str], payload: dict[str, Any], reason: str
) -> None:
    answer = await api.client.post(THINGS, json=payload, headers=gateway)
    assert (answer.status_code, answer.json()["accepted"], answer.json()["refused"]) == (202, 0, 1), answer.text
    assert answer.json()["refusals"][0]["reason"] == reason
    assert arrived(api) == {}


async def test_what_carries_no_temperature_is_answered_with_why(api: Api, gateway: dict[str, str]) -> None:
    things = await api.client.post(THINGS, json={"end_device_ids": {"device_id": "dev-1"}}, headers=gateway)
    disruptive = await api.client.post(DISRUPTIVE, json=dt_event("emuc16e9", "touch"), headers=gateway)
    for answer, because in ((things, "is not an uplink"), (disruptive, "touch events carry no temperature")):
        assert (answer.status_code, answer.json()["accepted"], answer.json()["refused"]) == (202, 0, 0)
        assert because in answer.json()["nothing_because"]


@pytest.mark.parametrize("path", [THINGS, DISRUPTIVE])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b'{"a":' * 5_000, 400),
        (b"[]", 422),
        (
            b'{"end_device_ids":{"device_id":"a\\u0000"},"event":{"targetName":"p/a/devices/a\\u0000","eventType":"x"}}',
            422,
        ),
        (b" " * 262_145, 413),
    ],
)
async def test_another_body_is_refused_with_its_reason(
    api: Api, gateway: dict[str, str], path: str, body: bytes, status: int
) -> None:
    answer = await api.client.post(path, content=body, headers=gateway)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text


@pytest.mark.parametrize("path", [THINGS, DISRUPTIVE])
async def test_gateways_ops_and_admins_may_send_and_nobody_else(api: Api, gateway: dict[str, str], path: str) -> None:
    payload = uplink("dev-1", 4.0) if path == THINGS else dt_event("emuc16e9")
    statuses: dict[Role | None, int] = {}
    for role in Role:
        key = await api.key(role, "acme")
        statuses[role] = (await api.client.post(path, json=payload, headers=key)).status_code
    statuses[None] = (await api.client.post(path, json=payload)).status_code
    assert statuses == {Role.GATEWAY: 202, Role.MEMBER: 403, Role.OPS: 202, Role.ADMIN: 202, None: 401}


class TestWithASignatureSecret:
    @pytest.fixture
    def trust(self) -> TrustSettings:
        return TrustSettings(disruptive_signature_secret=SecretStr(SECRET))

    async def post(self, api: Api, headers: dict[str, str], signed: bytes | None) -> httpx.Response:
        body = json.dumps(dt_event("emuc16e9")).encode()
        if signed is not None:
            claims = {"exp": int(time.time()) + 3600, "checksum_sha256": hashlib.sha256(body + signed).hexdigest()}
            headers = headers | {"X-Dt-Signature": jwt.encode(claims, SECRET, algorithm="HS256")}
        return await api.client.post(DISRUPTIVE, content=body, headers=headers)

    async def test_a_signed_event_is_taken_and_no_other(self, api: Api, gateway: dict[str, str]) -> None:
        good, tampered, unsigned = [await self.post(api, gateway, signed) for signed in (b"", b" ", None)]
        assert (good.status_code, tampered.status_code, unsigned.status_code) == (202, 403, 403)
        assert "X-Dt-Signature is missing" in unsigned.json()["detail"]
        assert SECRET not in unsigned.text
        assert arrived(api) == {"acme/freezer": [-18.5]}
