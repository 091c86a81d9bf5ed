"""Readings by HTTP: acknowledged by the broker, item by item, and never for another organization's unit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from database.configuration import UnitRow
from schemas import messages as m
from schemas.roles import Role
from schemas.topics import READINGS
from tests.api.topic_records import records

if TYPE_CHECKING:
    from broker.settings import KafkaSettings
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.broker, pytest.mark.postgres]

NOW_MS = round(datetime.now(UTC).timestamp() * 1000)


@pytest.fixture
def kafka_address(kafka_settings: KafkaSettings) -> KafkaSettings:
    return kafka_settings


@pytest.fixture
async def gateway(api: Api) -> dict[str, str]:
    async with AsyncSession(api.database) as session, session.begin():
        for unit, owner in (("fridge", "acme"), ("freezer", "acme"), ("theirs", "other")):
            session.add(UnitRow(unit_id=f"{owner}/{unit}", organization_id=owner, name=unit))
    return await api.key(Role.GATEWAY, "acme")


def reading(seconds_ago: int = 0, celsius: float = 4.0) -> dict[str, Any]:
    return {"at_ms": NOW_MS - seconds_ago * 1000, "temperature_c": celsius}


def arrived(api: Api) -> dict[str, list[m.Reading]]:
    found: dict[str, list[m.Reading]] = {}
    for record in records(api.kafka, READINGS):
        batch = msgspec.json.decode(record.value or b"", type=m.ReadingBatch)
        assert batch.unit_id == record.key
        found.setdefault(batch.unit_id, []).extend(batch.readings)
    return found


async def test_one_reading_is_in_kafka_when_the_answer_comes(api: Api, gateway: dict[str, str]) -> None:
    answer = await api.client.post("/v1/readings", json={"unit_id": "fridge", **reading()}, headers=gateway)

    assert answer.status_code == HTTPStatus.ACCEPTED, answer.text
    assert answer.json() == {
        "accepted": 1,
        "refused": 0,
        "items": [{"unit_id": "fridge", "accepted": 1, "refused": 0, "refusals": []}],
    }
    assert arrived(api) == {"acme/fridge": [m.Reading(NOW_MS, 4.0)]}


async def test_many_readings_and_several_units_go_in_one_request(api: Api, gateway: dict[str, str]) -> None:
    batches = [
        {"unit_id": "fridge", "readings": [reading(2), reading(1)]},
        {"unit_id": "freezer", "readings": [reading(1, -18)]},
    ]
    many = await api.client.post("/v1/readings", json=batches[0], headers=gateway)
    several = await api.client.post("/v1/readings", json={"batches": batches}, headers=gateway)

    assert (many.status_code, many.json()["accepted"]) == (202, 2)
    assert (several.status_code, several.json()["accepted"]) == (202, 3)
    assert {unit: len(readings) for unit, readings in arrived(api).items()} == {"acme/fridge": 4, "acme/freezer": 1}


async def test_what_is_wrong_is_refused_alone_with_its_reason(api: Api, gateway: dict[str, str]) -> None:
    # From this moment: minutes may lie between the module's import and this test.
    future = {"at_ms": round(datetime.now(UTC).timestamp() * 1000) + 400_000, "temperature_c": 4.0}
    readings = [reading(1), reading(2, 200), {"at_ms": "now"}, future, reading(3)]
    body = {"batches": [{"unit_id": "fridge", "readings": readings}, {"unit_id": "nowhere", "readings": [reading()]}]}

    answer = await api.client.post("/v1/readings", json=body, headers=gateway)

    assert (answer.status_code, answer.json()["accepted"], answer.json()["refused"]) == (202, 2, 4)
    fridge, nowhere = answer.json()["items"]
    assert [(refusal["index"], refusal["reason"]) for refusal in fridge["refusals"]] == [
        (1, "impossible_temperature"),
        (2, "wrong_shape"),
        (3, "future_time"),
    ]
    assert [refusal["reason"] for refusal in nowhere["refusals"]] == ["unknown_unit"]
    assert [r.at_ms for r in arrived(api)["acme/fridge"]] == [NOW_MS - 1000, NOW_MS - 3000]


async def test_times_in_iso_8601_and_fahrenheit_are_taken(api: Api, gateway: dict[str, str]) -> None:
    at = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    eastern = at.astimezone(timezone(timedelta(hours=-5)))
    one = {"unit_id": "fridge", "at": at.isoformat(), "temperature_f": 39.2}
    readings = [
        {"at": eastern.isoformat(), "temperature_c": 5},
        {"at_ms": NOW_MS - 1_000, "temperature_f": -0.4},
        {"at": "2026-03-01T12:00:00", "temperature_c": 5},
        {"at": at.isoformat(), "at_ms": NOW_MS, "temperature_c": 5},
        {"at": at.isoformat(), "temperature_c": 5, "temperature_f": 41},
        {"at": at.isoformat()},
        {"at": at.isoformat(), "temperature_f": 500},
        {"at": "1970-01-01T00:00:00Z", "temperature_c": 5},
    ]

    single = await api.client.post("/v1/readings", json=one, headers=gateway)
    many = await api.client.post("/v1/readings", json={"unit_id": "freezer", "readings": readings}, headers=gateway)

    assert (single.status_code, many.status_code, many.json()["accepted"]) == (202, 202, 2), many.text
    assert arrived(api) == {
        "acme/fridge": [m.Reading(NOW_MS, 4.0)],
        "acme/freezer": [m.Reading(NOW_MS, 5.0), m.Reading(NOW_MS - 1_000, -18.0)],
    }
    refusals = many.json()["items"][0]["refusals"]
    assert [refusal["index"] for refusal in refusals] == [2, 3, 4, 5, 6, 7]
    assert [refusal["reason"] for refusal in refusals] == [
        *["wrong_shape"] * 4,
        "impossible_temperature",
        "wrong_shape",
    ]
    for refusal, says in zip(
        refusals, ["with a zone", "one of at_ms", "one of temp", "one of temp", "302", "2000"], strict=True
    ):
        assert says in refusal["detail"]


async def test_a_unit_of_another_organization_is_unknown(api: Api, gateway: dict[str, str]) -> None:
    answer = await api.client.post("/v1/readings", json={"unit_id": "theirs", **reading()}, headers=gateway)

    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert answer.json()["items"][0]["refusals"][0]["reason"] == "unknown_unit"
    assert arrived(api) == {}


async def test_an_id_that_no_database_takes_is_an_unknown_unit(api: Api, gateway: dict[str, str]) -> None:
    answer = await api.client.post("/v1/readings", json={"unit_id": "fridge\x00", **reading()}, headers=gateway)
    assert (answer.status_code, answer.json()["items"][0]["refusals"][0]["reason"]) == (422, "unknown_unit")


async def test_gateways_ops_and_admins_may_send_and_members_not(api: Api, gateway: dict[str, str]) -> None:
    statuses = {}
    for role in Role:
        key = await api.key(role, "acme")
        answer = await api.client.post("/v1/readings", json={"unit_id": "fridge", **reading()}, headers=key)
        statuses[role] = answer.status_code
    assert statuses == {Role.GATEWAY: 202, Role.MEMBER: 403, Role.OPS: 202, Role.ADMIN: 202}
