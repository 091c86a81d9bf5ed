"""Units and rules by HTTP: what is written reaches the outbox in the same transaction."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from database.configuration import OrganizationRow
from schemas.roles import Role

if TYPE_CHECKING:
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

RULE = {"rule_id": "high", "limit": "high", "severity": "critical", "limit_c": 8.0, "clear_c": 7.5}
FRIDGE = {"unit_id": "fridge", "name": "Fridge", "gateway_id": "gw", "rules": [RULE]}


@pytest.fixture
async def ops(api: Api) -> dict[str, str]:
    return await api.key(Role.OPS, "acme")


async def test_a_new_unit_is_stored_and_told(api: Api, ops: dict[str, str]) -> None:
    made = await api.client.post("/v1/units", json=FRIDGE, headers=ops)

    assert (made.status_code, made.headers["location"]) == (201, "/v1/units/fridge"), made.text
    read = await api.client.get(made.headers["location"], headers=ops)
    assert read.json() == made.json()
    assert made.json()["rules"] == [RULE | {"confirm_s": 0, "recover_readings": 1}]
    [(topic, key, message)] = await api.outbox()
    assert (topic, key) == ("units", "acme/fridge")
    assert message is not None
    assert (message["organization_name"], message["display_unit"], message["gateway_id"]) == ("Acme Foods", "F", "gw")
    assert [rule["limit_c"] for rule in message["rules"]] == [8.0]


async def test_a_unit_is_given_an_id_when_it_has_none(api: Api, ops: dict[str, str]) -> None:
    made = await api.client.post("/v1/units", json={"name": "Fridge"}, headers=ops)
    assert len(made.json()["unit_id"]) == 36


async def test_a_taken_id_is_refused_and_those_of_others_are_not_taken(api: Api, ops: dict[str, str]) -> None:
    theirs = await api.key(Role.OPS, "other")
    for key in (theirs, ops):
        assert (await api.client.post("/v1/units", json=FRIDGE, headers=key)).status_code == 201
    assert [key for _, key, _ in await api.outbox()] == ["other/fridge", "acme/fridge"]
    refused = await api.client.post("/v1/units", json=FRIDGE, headers=ops)
    assert (refused.status_code, refused.json()["title"]) == (409, "Conflict")


async def test_replacing_replaces_the_rules_too(api: Api, ops: dict[str, str]) -> None:
    await api.client.post("/v1/units", json=FRIDGE, headers=ops)
    low = {"rule_id": "low", "limit": "low", "severity": "info", "limit_c": 1}
    replaced = await api.client.put("/v1/units/fridge", json={"name": "Cooler", "rules": [low]}, headers=ops)

    assert (replaced.json()["name"], replaced.json()["gateway_id"]) == ("Cooler", None)
    assert [rule["rule_id"] for rule in replaced.json()["rules"]] == ["low"]
    *_, (_, _, message) = await api.outbox()
    assert message is not None
    assert [rule["rule_id"] for rule in message["rules"]] == ["low"]


async def test_rules_come_and_go_one_by_one(api: Api, ops: dict[str, str]) -> None:
    await api.client.post("/v1/units", json=FRIDGE, headers=ops)
    body = {"limit": "low", "severity": "warning", "limit_c": 1.5}
    added = await api.client.put("/v1/units/fridge/rules/low", json=body, headers=ops)
    changed = await api.client.put("/v1/units/fridge/rules/low", json=body | {"limit_c": 2}, headers=ops)
    removed = await api.client.delete("/v1/units/fridge/rules/high", headers=ops)
    missing = await api.client.delete("/v1/units/fridge/rules/high", headers=ops)

    assert [rule["rule_id"] for rule in added.json()["rules"]] == ["high", "low"]
    assert [rule["limit_c"] for rule in changed.json()["rules"]] == [8, 2]
    assert [rule["rule_id"] for rule in removed.json()["rules"]] == ["low"]
    assert missing.status_code == 404
    assert len(await api.outbox()) == 4


async def test_a_deleted_unit_is_gone_and_a_tombstone_is_told(api: Api, ops: dict[str, str]) -> None:
    await api.client.post("/v1/units", json=FRIDGE, headers=ops)
    assert (await api.client.delete("/v1/units/fridge", headers=ops)).status_code == 204
    assert (await api.client.get("/v1/units/fridge", headers=ops)).status_code == 404
    assert (await api.outbox())[-1] == ("units", "acme/fridge", None)


async def test_of_two_who_changed_the_same_version_the_second_is_told(api: Api, ops: dict[str, str]) -> None:
    tag = (await api.client.post("/v1/units", json=FRIDGE, headers=ops)).headers["etag"]

    answers = await asyncio.gather(
        *(
            api.client.put("/v1/units/fridge", json={"name": name}, headers=ops | {"If-Match": tag})
            for name in ("one", "two")
        )
    )

    assert sorted(answer.status_code for answer in answers) == [200, 412]
    unchanged = await api.client.delete("/v1/units/fridge", headers=ops | {"If-Match": tag})
    assert (unchanged.status_code, unchanged.headers["etag"] != tag) == (412, True)


async def test_a_version_that_is_known_is_not_sent_again(api: Api, ops: dict[str, str]) -> None:
    tag = (await api.client.post("/v1/units", json=FRIDGE, headers=ops)).headers["etag"]
    again = await api.client.get("/v1/units/fridge", headers=ops | {"If-None-Match": f"W/{tag}"})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "two\nlines"}, "/name"),
        ({"name": "nul\u0000"}, "/name"),
        ({"unit_id": "a/b"}, "/unit_id"),
        ({"colour": "red"}, "/colour"),
        ({"expected_interval_s": 0}, "/expected_interval_s"),
        ({"expected_interval_s": 10**30}, "/expected_interval_s"),
        ({"expected_interval_s": 604_800, "offline_after_missed": 2}, "/"),
        ({"offline_severity": "urgent"}, "/offline_severity"),
        ({"rules": [RULE | {"limit_c": 900}]}, "/rules/0/limit_c"),
        ({"rules": [RULE | {"clear_c": 8.5}]}, "/rules/0"),
        ({"rules": [RULE, RULE]}, "/"),
    ],
)
async def test_what_cannot_be_is_refused_with_its_place(
    api: Api, ops: dict[str, str], change: dict[str, Any], pointer: str
) -> None:
    answer = await api.client.post("/v1/units", json=FRIDGE | change, headers=ops)
    assert answer.status_code == 422
    assert [part["pointer"] for part in answer.json()["errors"]] == [pointer]
    assert await api.outbox() == []


async def test_pages_hold_every_unit_once(api: Api, ops: dict[str, str]) -> None:
    names = [f"unit-{number:02}" for number in range(7)]
    for name in names:
        await api.client.post("/v1/units", json={"unit_id": name, "name": name}, headers=ops)

    found, cursor = [], None
    for _ in range(4):
        query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = (await api.client.get("/v1/units", params=query, headers=ops)).json()
        found += [unit["unit_id"] for unit in page["items"]]
        cursor = page["next_cursor"]
        # A unit that appears meanwhile, behind the place, neither moves nor repeats the others.
        await api.client.post("/v1/units", json={"name": "a-new"}, headers=ops)
    assert [name for name in found if name in names] == names


@pytest.mark.parametrize("cursor", ["x", "W10", "WzFd", "bnVsbA", "é", "WyJcdTAwMDAiXQ", "=" * 9])
async def test_a_cursor_of_nobodys_is_refused(api: Api, ops: dict[str, str], cursor: str) -> None:
    answer = await api.client.get("/v1/units", params={"cursor": cursor}, headers=ops)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


async def test_no_more_units_than_the_organization_may_have(api: Api, ops: dict[str, str]) -> None:
    async with AsyncSession(api.database) as session, session.begin():
        await session.execute(update(OrganizationRow).values(max_units=3))
    answers = await asyncio.gather(
        *(api.client.post("/v1/units", json={"name": "Fridge"}, headers=ops) for _ in range(6))
    )
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 3


async def test_an_organizations_new_name_reaches_all_its_units(api: Api, ops: dict[str, str]) -> None:
    admin = await api.key(Role.ADMIN, "acme")
    for name in ("a", "b"):
        await api.client.post("/v1/units", json={"unit_id": name, "name": name}, headers=ops)
    await api.client.put("/v1/organization", json={"name": "Acme 2", "display_unit": "C"}, headers=admin)

    told = [(key, message) for topic, key, message in await api.outbox() if topic == "units"][2:]
    assert [key for key, _ in told] == ["acme/a", "acme/b"]
    assert all(m and (m["organization_name"], m["display_unit"]) == ("Acme 2", "C") for _, m in told)


async def test_who_runs_the_installation_makes_organizations(api: Api, ops: dict[str, str]) -> None:
    everywhere = await api.key(Role.ADMIN, None)
    terms = {"name": "New Ltd", "max_units": 5}
    made = await api.client.put("/v1/organizations/new", json=terms, headers=everywhere)
    again = await api.client.put("/v1/organizations/new", json=terms | {"max_units": 6}, headers=everywhere)
    listed = await api.client.get("/v1/organizations", headers=everywhere)

    assert (made.status_code, again.status_code, again.json()["max_units"]) == (201, 200, 6)
    assert [row["organization_id"] for row in listed.json()["items"]] == ["acme", "new", "other"]
    for refused in (ops, await api.key(Role.ADMIN, "acme")):
        assert (await api.client.put("/v1/organizations/acme", json=terms, headers=refused)).status_code == 403
        assert (await api.client.get("/v1/organizations", headers=refused)).status_code == 403


async def test_a_device_belongs_to_one_unit_of_an_organization(api: Api, ops: dict[str, str]) -> None:
    theirs = await api.key(Role.OPS, "other")
    statuses = [
        (await api.client.post("/v1/units", json={"unit_id": unit, "name": unit, "device_id": "dev-1"}, headers=key))
        for unit, key in (("a", ops), ("b", ops), ("c", theirs))
    ]
    assert [answer.status_code for answer in statuses] == [201, 409, 201]
    assert "belongs to the unit a" in statuses[1].json()["detail"]
    assert statuses[0].json()["device_id"] == "dev-1"
