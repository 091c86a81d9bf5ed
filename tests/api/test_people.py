"""Contacts, the escalation chain and digest preferences by HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from database.configuration import OptOutRow
from schemas.roles import Role

if TYPE_CHECKING:
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

ANN = {"user_id": "ann", "name": "Ann", "phone_e164": "+12025550101", "email": "ann@example.com"}


@pytest.fixture
async def ops(api: Api) -> dict[str, str]:
    return await api.key(Role.OPS, "acme")


async def people(api: Api, ops: dict[str, str], *names: str) -> None:
    for name in names:
        made = await api.client.post("/v1/contacts", json={"user_id": name, "name": name}, headers=ops)
        assert made.status_code == 201, made.text


async def test_a_new_contact_is_stored_and_told(api: Api, ops: dict[str, str]) -> None:
    made = await api.client.post("/v1/contacts", json=ANN, headers=ops)

    assert (made.status_code, made.headers["location"]) == (201, "/v1/contacts/ann"), made.text
    assert (made.json()["phone_e164"], made.json()["escalation_level"]) == ("+12025550101", 1)
    [(topic, key, message)] = await api.outbox()
    assert (topic, key) == ("contacts", "acme/ann")
    assert message is not None
    assert (message["phone_e164"], message["minimum_severity"]) == ("+12025550101", "warning")


async def test_numbers_and_addresses_are_masked_in_lists_and_for_members(api: Api, ops: dict[str, str]) -> None:
    await api.client.post("/v1/contacts", json=ANN, headers=ops)
    member = await api.key(Role.MEMBER, "acme")

    listed = (await api.client.get("/v1/contacts", headers=ops)).text
    one_for_member = (await api.client.get("/v1/contacts/ann", headers=member)).text
    one_for_ops = (await api.client.get("/v1/contacts/ann", headers=ops)).text

    for shown in (listed, one_for_member):
        assert "+12025550101" not in shown
        assert "ann@example.com" not in shown
        assert "a***@example.com" in shown
    assert "+12025550101" in one_for_ops


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"phone_e164": "2025550101"}, "/phone_e164"),
        ({"phone_e164": "+1202555"}, "/phone_e164"),
        ({"email": "nobody"}, "/email"),
        ({"minimum_severity": "panic"}, "/minimum_severity"),
    ],
)
async def test_what_nobody_can_be_reached_by_is_refused(
    api: Api, ops: dict[str, str], change: dict[str, Any], pointer: str
) -> None:
    answer = await api.client.post("/v1/contacts", json=ANN | change, headers=ops)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


async def test_a_number_that_opted_out_stays_so_for_a_new_contact(api: Api, ops: dict[str, str]) -> None:
    async with AsyncSession(api.database) as session, session.begin():
        session.add(OptOutRow(phone_e164="+12025550101", via="sms", opted_out_at=datetime.now(UTC)))
    made = await api.client.post("/v1/contacts", json=ANN, headers=ops)
    assert made.json()["sms_opted_out"] is True
    [(_, _, message)] = await api.outbox()
    assert message is not None
    assert message["sms_opted_out"] is True


async def test_a_deleted_contact_leaves_tombstones_for_contact_and_digest(api: Api, ops: dict[str, str]) -> None:
    await people(api, ops, "ann")
    await api.client.post("/v1/digest-preferences", json={"user_id": "ann"}, headers=ops)
    await api.client.put("/v1/escalation", json={"levels": [["ann"]]}, headers=ops)

    assert (await api.client.delete("/v1/contacts/ann", headers=ops)).status_code == 204

    assert (await api.outbox())[-2:] == [("contacts", "acme/ann", None), ("digest-preferences", "acme/ann", None)]
    assert (await api.client.get("/v1/escalation", headers=ops)).json() == {"levels": []}
    assert (await api.client.get("/v1/digest-preferences/ann", headers=ops)).status_code == 404


async def test_a_contact_is_replaced_only_in_the_version_that_was_read(api: Api, ops: dict[str, str]) -> None:
    tag = (await api.client.post("/v1/contacts", json=ANN, headers=ops)).headers["etag"]
    first = await api.client.put("/v1/contacts/ann", json={"name": "A."}, headers=ops | {"If-Match": tag})
    second = await api.client.put("/v1/contacts/ann", json={"name": "B."}, headers=ops | {"If-Match": tag})
    assert (first.status_code, second.status_code) == (200, 412)


async def test_a_new_chain_tells_those_whose_level_changed(api: Api, ops: dict[str, str]) -> None:
    await people(api, ops, "ann", "bob", "eve")
    before = len(await api.outbox())

    chain = await api.client.put("/v1/escalation", json={"levels": [["ann"], ["bob", "eve"]]}, headers=ops)
    told = [(key, message and message["escalation_level"]) for _, key, message in (await api.outbox())[before:]]
    assert (chain.status_code, told) == (200, [("acme/bob", 2), ("acme/eve", 2)])

    shorter = await api.client.put("/v1/escalation", json={"levels": [["ann"], ["eve"]]}, headers=ops)
    told = [(key, message and message["escalation_level"]) for _, key, message in (await api.outbox())[before + 2 :]]
    assert (shorter.json(), told) == ({"levels": [["ann"], ["eve"]]}, [("acme/bob", 1)])


async def test_a_chain_that_somebody_else_changed_is_not_overwritten(api: Api, ops: dict[str, str]) -> None:
    await people(api, ops, "ann")
    tag = (await api.client.get("/v1/escalation", headers=ops)).headers["etag"]
    first = await api.client.put("/v1/escalation", json={"levels": [["ann"]]}, headers=ops | {"If-Match": tag})
    second = await api.client.put("/v1/escalation", json={"levels": []}, headers=ops | {"If-Match": tag})
    assert (first.status_code, second.status_code) == (200, 412)


async def test_a_user_stands_at_one_level_only(api: Api, ops: dict[str, str]) -> None:
    await people(api, ops, "ann")
    answer = await api.client.put("/v1/escalation", json={"levels": [["ann"], ["ann"]]}, headers=ops)
    assert answer.status_code == 422


async def test_a_preference_tells_its_next_runs_in_local_time(api: Api, ops: dict[str, str]) -> None:
    await people(api, ops, "ann")
    body = {"user_id": "ann", "cadences": ["monthly", "daily"], "timezone": "Asia/Kathmandu"}
    made = await api.client.post("/v1/digest-preferences", json=body, headers=ops)

    assert made.status_code == 201, made.text
    assert made.json()["cadences"] == ["daily", "monthly"]
    runs = {run["cadence"]: run for run in made.json()["next_runs"]}
    assert runs["daily"]["local_time"].endswith("T07:00:00+05:45")
    assert runs["monthly"]["local_time"].endswith("-01T08:00:00+05:45")
    assert datetime.fromisoformat(runs["daily"]["at"]) == datetime.fromisoformat(runs["daily"]["local_time"])
    assert (await api.outbox())[-1][:2] == ("digest-preferences", "acme/ann")


async def test_a_cadence_may_have_its_own_hour_and_units(api: Api, ops: dict[str, str]) -> None:
    await people(api, ops, "ann")
    unit = {"unit_id": "fridge", "name": "Fridge"}
    assert (await api.client.post("/v1/units", json=unit, headers=ops)).status_code == 201
    body = {"user_id": "ann", "cadences": ["daily", "weekly"], "hours": {"weekly": 15}, "units": {"daily": ["fridge"]}}
    made = await api.client.post("/v1/digest-preferences", json=body, headers=ops)

    assert made.status_code == 201, made.text
    runs = {run["cadence"]: run["local_time"][10:16] for run in made.json()["next_runs"]}
    assert runs == {"daily": "T07:00", "weekly": "T15:00"}
    message = (await api.outbox())[-1][2]
    assert message is not None
    assert (message["hours"], message["units"]) == ({"weekly": 15}, {"daily": ["acme/fridge"]})
    assert made.json()["units"] == {"daily": ["fridge"]}


async def test_units_of_nobody_in_a_preference_are_refused(api: Api, ops: dict[str, str]) -> None:
    await people(api, ops, "ann")
    body = {"user_id": "ann", "units": {"daily": ["cellar"]}}
    answer = await api.client.post("/v1/digest-preferences", json=body, headers=ops)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/units/daily")


async def test_pausing_and_resuming_are_told_once_each(api: Api, ops: dict[str, str]) -> None:
    await people(api, ops, "ann")
    await api.client.post("/v1/digest-preferences", json={"user_id": "ann"}, headers=ops)
    before = len(await api.outbox())

    for word in ("pause", "pause", "resume", "resume"):
        answer = await api.client.post(f"/v1/digest-preferences/ann/{word}", headers=ops)
        assert answer.json()["paused"] is (word == "pause")
        assert bool(answer.json()["next_runs"]) is (word == "resume")

    assert [message and message["paused"] for _, _, message in (await api.outbox())[before:]] == [True, False]


async def test_a_second_preference_is_refused_and_a_deleted_one_is_a_tombstone(api: Api, ops: dict[str, str]) -> None:
    await people(api, ops, "ann")
    statuses = [
        (await api.client.post("/v1/digest-preferences", json={"user_id": "ann"}, headers=ops)).status_code
        for _ in range(2)
    ]
    assert statuses == [201, 409]
    assert (await api.client.delete("/v1/digest-preferences/ann", headers=ops)).status_code == 204
    assert (await api.outbox())[-1] == ("digest-preferences", "acme/ann", None)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "", "Europe", "a" * 64])
async def test_a_timezone_that_is_none_is_refused(api: Api, ops: dict[str, str], zone: str) -> None:
    await people(api, ops, "ann")
    body = {"user_id": "ann", "timezone": zone}
    answer = await api.client.post("/v1/digest-preferences", json=body, headers=ops)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/timezone")


async def test_a_new_cap_of_sms_is_told_with_every_contact_once(api: Api, ops: dict[str, str]) -> None:
    operator = await api.key(Role.ADMIN, None)
    await people(api, ops, "ann", "bob")
    before = len(await api.outbox())

    for cap in (50, 50, None):
        terms = {"name": "Acme Foods", "sms_per_hour": cap}
        answer = await api.client.put("/v1/organizations/acme", json=terms, headers=operator)
        assert answer.status_code == 200, answer.text

    told = [row for row in (await api.outbox())[before:] if row[0] == "contacts"]
    assert [(topic, key, message and message["organization_sms_per_hour"]) for topic, key, message in told] == [
        ("contacts", "acme/ann", 50),
        ("contacts", "acme/bob", 50),
        ("contacts", "acme/ann", None),
        ("contacts", "acme/bob", None),
    ]


async def test_a_cap_that_no_message_could_pass_is_refused(api: Api) -> None:
    operator = await api.key(Role.ADMIN, None)
    terms = {"name": "Acme Foods", "sms_per_hour": 0}
    answer = await api.client.put("/v1/organizations/acme", json=terms, headers=operator)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/sms_per_hour")
