"""API keys: shown once, checked always, limited, revoked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from api.authentication import Keys
from api.settings import ApiSettings
from database.configuration import ApiKeyRow
from schemas.roles import Role

if TYPE_CHECKING:
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def status(api: Api, authorization: str) -> int:
    return (await api.client.get("/v1/units", headers={"Authorization": authorization})).status_code


async def test_a_made_key_is_shown_once_and_works_until_it_is_revoked(api: Api) -> None:
    admin = await api.key(Role.ADMIN, "acme")
    made = (await api.client.post("/v1/api-keys", json={"name": "Ann", "role": "member"}, headers=admin)).json()
    assert await status(api, f"Bearer {made['key']}") == 200
    listed = (await api.client.get("/v1/api-keys", headers=admin)).text
    assert made["key_id"] in listed
    assert made["key"].rsplit(".", 1)[1] not in listed

    for _ in range(2):
        assert (await api.client.delete(f"/v1/api-keys/{made['key_id']}", headers=admin)).status_code == 204
    assert await status(api, f"Bearer {made['key']}") == 401


async def test_another_organizations_admin_cannot_revoke_it(api: Api) -> None:
    mine, theirs = await api.key(Role.ADMIN, "acme"), await api.key(Role.ADMIN, "other")
    key_id = mine["Authorization"].split(".")[1]
    assert (await api.client.delete(f"/v1/api-keys/{key_id}", headers=theirs)).status_code == 404
    assert await status(api, mine["Authorization"]) == 200


async def test_what_is_not_quite_a_key_opens_nothing(api: Api) -> None:
    good = (await api.key(Role.MEMBER, "acme"))["Authorization"]
    _, key_id, secret = good.removeprefix("Bearer ").split(".")
    assert await status(api, good) == 200
    for wrong in (
        "",
        "Bearer",
        f"Basic ft.{key_id}.{secret}",
        f"Bearer ft.{key_id}.{secret[:-1]}",
        f"Bearer ft.{key_id}.{secret}x",
        f"Bearer ft.{key_id}.",
        f"Bearer ft..{secret}",
        f"Bearer ft.{'0' * 32}.{secret}",
        f"Bearer ft.{key_id}.{secret}.more",
        f"Bearer {key_id}.{secret}",
    ):
        assert await status(api, wrong) == 401, wrong


async def test_an_expired_key_opens_nothing(api: Api) -> None:
    key = (await api.key(Role.MEMBER, "acme"))["Authorization"]
    async with AsyncSession(api.database) as session, session.begin():
        await session.execute(update(ApiKeyRow).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    assert await status(api, key) == 401


async def test_a_key_that_comes_too_often_is_told_when_to_come_again(api: Api) -> None:
    clock = [1000.0]
    settings = ApiSettings(requests_per_s=10, gateway_requests_per_s=1_000, key_cache_s=1e9)
    services = api.app.state.services
    api.app.state.services = type(services)(
        **{name: getattr(services, name) for name in services.__struct_fields__ if name != "keys"},
        keys=Keys(api.database, settings, lambda: clock[0], services.now),
    )
    key = (await api.key(Role.MEMBER, "acme"))["Authorization"]
    other = (await api.key(Role.MEMBER, "acme"))["Authorization"]

    at_once = [await status(api, key) for _ in range(30)]
    assert (at_once.count(200), at_once.count(429)) == (20, 10)
    refused = await api.client.get("/v1/units", headers={"Authorization": key})
    assert int(refused.headers["retry-after"]) >= 1
    assert await status(api, other) == 200
    clock[0] += 1
    one_second_later = [await status(api, key) for _ in range(30)]
    assert one_second_later.count(200) == 10


async def test_a_key_says_who_made_it_and_when_it_was_used(api: Api) -> None:
    admin = await api.key(Role.ADMIN, "acme")
    made = (await api.client.post("/v1/api-keys", json={"name": "Ann", "role": "member"}, headers=admin)).json()
    assert made["created_by"] == f"key:{admin['Authorization'].split('.')[1]}"
    assert made["last_used_at"] is None

    await status(api, f"Bearer {made['key']}")
    listed = (await api.client.get("/v1/api-keys", headers=admin)).json()["items"]
    [used_at] = [key["last_used_at"] for key in listed if key["key_id"] == made["key_id"]]
    assert abs(datetime.fromisoformat(used_at) - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("days", "status_code"), [(None, 422), (31, 422), (29, 201)], ids=["for ever", "longer", "shorter"]
)
async def test_a_key_makes_none_that_lives_longer_than_itself(api: Api, days: int | None, status_code: int) -> None:
    admin = await api.key(Role.ADMIN, "acme")
    now = datetime.now(UTC)
    async with AsyncSession(api.database) as session, session.begin():
        await session.execute(update(ApiKeyRow).values(expires_at=now + timedelta(days=30)))
    body = {"name": "Ann", "role": "admin"}
    if days is not None:
        body["expires_at"] = (now + timedelta(days=days)).isoformat()
    assert (await api.client.post("/v1/api-keys", json=body, headers=admin)).status_code == status_code


async def test_the_keys_of_a_deleted_contact_end_with_it(api: Api) -> None:
    admin = await api.key(Role.ADMIN, "acme")
    await api.client.post("/v1/contacts", json={"user_id": "ann", "name": "Ann"}, headers=admin)
    body = {"name": "Ann's phone", "role": "member", "user_id": "ann"}
    made = (await api.client.post("/v1/api-keys", json=body, headers=admin)).json()
    assert await status(api, f"Bearer {made['key']}") == 200
    await api.client.delete("/v1/contacts/ann", headers=admin)
    assert await status(api, f"Bearer {made['key']}") == 401
