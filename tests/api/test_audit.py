"""The audit trail over HTTP: whatever changes something leaves an entry that names who, and only admins read it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from database.audit import AuditEntryRow
from database.configuration import OptOutRow
from schemas.messages import Cadence
from schemas.roles import Role
from tests.api.test_access import USES, Use, title
from tests.api.test_sms_rerun import record
from tests.api.test_unsubscribe import ONE_CLICK, link
from tests.api.worlds import furnish

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx

    from tests.api_world import Api

    Call = Callable[[Api, dict[str, str]], Awaitable[httpx.Response]]

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

READS = {"get", "head", "options"}
# What these take are measurements, and what people answer by SMS: the recorder writes that, and its entries, to SQL.
NO_CHANGE = {
    ("POST", "/webhooks/telnyx"),
    ("POST", "/v1/readings"),
    ("POST", "/v1/webhooks/the-things-stack"),
    ("POST", "/v1/webhooks/disruptive"),
}
# Where a body other than that of the table of accesses is the one that changes something.
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/v1/dead-letters/retry"): {"dry_run": False, "force": True, "max_age_h": 80_000},
    ("POST", "/v1/digest-preferences/{user_id}/resume"): None,
}


async def _new_preference(api: Api, key: dict[str, str]) -> httpx.Response:
    assert (await api.client.delete("/v1/digest-preferences/ann", headers=key)).status_code == 204
    return await api.client.post(
        "/v1/digest-preferences", json={"user_id": "ann", "cadences": ["daily"], "timezone": "UTC"}, headers=key
    )


async def _rerun(api: Api, key: dict[str, str]) -> httpx.Response:
    await record(api, "s1", "sent", "delivered")
    return await api.client.post("/v1/sms/s1/rerun", headers=key)


async def _new_organization(api: Api, _: dict[str, str]) -> httpx.Response:
    operator = await api.key(Role.ADMIN, None)
    return await api.client.put("/v1/organizations/third", json={"name": "Third Ltd"}, headers=operator)


async def _revoke(api: Api, key: dict[str, str]) -> httpx.Response:
    other = (await api.key(Role.MEMBER, "acme"))["Authorization"].split(".")[1]
    return await api.client.delete(f"/v1/api-keys/{other}", headers=key)


async def _unsubscribe(api: Api, _: dict[str, str]) -> httpx.Response:
    return await api.client.post(link(Cadence.DAILY), data=ONE_CLICK)


OF_THEIR_OWN: dict[tuple[str, str], Call] = {
    ("POST", "/v1/digest-preferences"): _new_preference,
    ("POST", "/v1/sms/{request_id}/rerun"): _rerun,
    ("PUT", "/v1/organizations/{organization_id}"): _new_organization,
    ("DELETE", "/v1/api-keys/{key_id}"): _revoke,
    ("POST", "/unsubscribe/{token}"): _unsubscribe,
}
CHANGES = [use for use in USES if use.method.lower() not in READS]


async def entries(api: Api) -> list[AuditEntryRow]:
    async with AsyncSession(api.database) as session:
        return list(await session.scalars(select(AuditEntryRow).order_by(AuditEntryRow.entry_id)))


async def test_every_endpoint_that_changes_something_is_tried_here(api: Api) -> None:
    paths: dict[str, dict[str, Any]] = (await api.client.get("/openapi.json")).json()["paths"]
    changing = {(method.upper(), path) for path, methods in paths.items() for method in methods if method not in READS}
    assert changing == {(use.method, use.route) for use in CHANGES} | OF_THEIR_OWN.keys() | NO_CHANGE


@pytest.mark.parametrize("use", CHANGES, ids=title)
async def test_each_change_names_the_key_and_the_address(api: Api, use: Use) -> None:
    await furnish(api.database)
    key = await api.key(Role.ADMIN, "acme")
    if use.route.endswith("/resume"):
        await api.client.post(use.path.replace("/resume", "/pause"), headers=key)
    before = len(await entries(api))

    body = BODIES.get((use.method, use.route), use.body)
    answer = await api.client.request(use.method, use.path, json=body, headers=key)

    assert answer.is_success, answer.text
    new = (await entries(api))[before:]
    assert new
    key_id = key["Authorization"].split(".")[1]
    assert {(entry.actor, entry.origin, entry.organization_id) for entry in new} == {
        (f"key:{key_id}", "127.0.0.1", "acme")
    }


@pytest.mark.parametrize("operation", OF_THEIR_OWN, ids=" ".join)
async def test_each_other_change_leaves_an_entry_with_its_source(api: Api, operation: tuple[str, str]) -> None:
    await furnish(api.database)
    key = await api.key(Role.ADMIN, "acme")
    before = len(await entries(api))

    answer = await OF_THEIR_OWN[operation](api, key)

    assert answer.is_success, answer.text
    entry = (await entries(api))[-1]
    assert len(await entries(api)) > before
    assert (entry.origin, entry.actor.partition(":")[0]) in {
        ("127.0.0.1", "key"),
        ("127.0.0.1", "unsubscribe link of ann"),
    }


async def test_a_member_acts_in_his_own_name(api: Api) -> None:
    await furnish(api.database)
    member = await api.key(Role.MEMBER, "acme", "ann")
    await api.client.post("/v1/alerts/a1/acknowledge", headers=member)
    entry = (await entries(api))[-1]
    assert (entry.actor, entry.action, entry.subject_id) == ("acme/ann", "alert.acknowledged", "a1")


async def test_a_request_without_effect_leaves_no_entry(api: Api) -> None:
    await furnish(api.database)
    key = await api.key(Role.ADMIN, "acme")
    unit = (await api.client.get("/v1/units/fridge", headers=key)).json()
    body = {name: value for name, value in unit.items() if name not in {"unit_id", "created_at", "version"}}
    before = len(await entries(api))

    repeated = await api.client.put("/v1/units/fridge", json=body, headers=key)
    refused = await api.client.put("/v1/units/fridge", json={"name": ""}, headers=key)

    assert (repeated.status_code, refused.status_code) == (200, 422), repeated.text
    assert len(await entries(api)) == before


async def test_admins_read_old_and_new_values_and_filter(api: Api) -> None:
    await furnish(api.database)
    key = await api.key(Role.ADMIN, "acme")
    body = {"name": "Ann", "phone_e164": "+12025550109", "email": "ann@example.com"}
    await api.client.put("/v1/contacts/ann", json=body, headers=key)
    await api.client.put("/v1/units/fridge", json={"name": "Cold room"}, headers=key)

    async def found(**query: str) -> list[dict[str, Any]]:
        answer = await api.client.get("/v1/audit", params=query, headers=key)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    [changed] = await found(action="contact.changed")
    assert changed["before"] == {"phone_e164": "+12025550101"}
    assert changed["after"] == {"phone_e164": "+12025550109"}
    assert {entry["subject_kind"] for entry in await found(subject_id="fridge")} == {"unit"}
    assert {entry["actor"] for entry in await found(actor=changed["actor"])} == {changed["actor"]}
    assert await found(until="2020-01-01") == []
    assert len(await found(since=changed["at"])) >= 2


async def test_pages_neither_skip_nor_repeat(api: Api) -> None:
    await furnish(api.database)
    key = await api.key(Role.ADMIN, "acme")
    whole = (await api.client.get("/v1/audit", headers=key)).json()["items"]
    paged: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await api.client.get("/v1/audit", params={"limit": 2, **cursor}, headers=key)).json()
        paged += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert paged == whole
    assert len(whole) > 4


async def test_a_number_that_opts_out_is_shown_to_operators_only_and_as_a_digest(api: Api) -> None:
    async with AsyncSession(api.database) as session, session.begin():
        session.add(OptOutRow(phone_e164="+12025550199", via="sms", opted_out_at=datetime(2026, 3, 1, tzinfo=UTC)))
    operator, admin = await api.key(Role.ADMIN, None), await api.key(Role.ADMIN, "acme")
    shown = (await api.client.get("/v1/audit", params={"action": "opt_out.created"}, headers=operator)).json()["items"]
    hidden = (await api.client.get("/v1/audit", params={"action": "opt_out.created"}, headers=admin)).json()["items"]
    assert ([entry["subject_id"].partition(":")[0] for entry in shown], hidden) == (["sha256"], [])
    assert "2025550199" not in str(shown)
