"""Every endpoint: who may use it, and that another organization's key neither sees nor changes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from sqlalchemy import text

from database.upgrade import metadata
from schemas.roles import Role
from tests.api.worlds import furnish

if TYPE_CHECKING:
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

READERS = {Role.MEMBER, Role.OPS, Role.ADMIN}
CONFIGURERS = {Role.OPS, Role.ADMIN}
ADMINS = {Role.ADMIN}

WINDOW = {"starts_at": "2026-05-01T10:00:00Z", "ends_at": "2026-05-01T11:00:00Z", "reason": "Cleaning"}
RULE = {"limit": "high", "severity": "warning", "limit_c": 6}


class Use(NamedTuple):
    """One use of an endpoint on acme's things: its route, the path asked for, who may, and what a good answer is."""

    method: str
    route: str
    roles: set[Role]
    status: int = 200
    body: Any = None

    @property
    def path(self) -> str:
        names = {"unit_id": "fridge", "rule_id": "high", "window_id": "w1", "user_id": "ann", "alert_id": "a1"}
        return self.route.format(**names, key_id="0" * 32, failure_id=1)

    @property
    def of_one_thing(self) -> bool:
        return "{" in self.route


USES = [
    Use("GET", "/v1/organization", READERS),
    Use("PUT", "/v1/organization", ADMINS, body={"name": "Acme 2"}),
    Use("GET", "/v1/units", READERS),
    Use("POST", "/v1/units", CONFIGURERS, 201, {"name": "New"}),
    Use("GET", "/v1/units/{unit_id}", READERS),
    Use("PUT", "/v1/units/{unit_id}", CONFIGURERS, body={"name": "Renamed"}),
    Use("DELETE", "/v1/units/{unit_id}", CONFIGURERS, 204),
    Use("PUT", "/v1/units/{unit_id}/rules/{rule_id}", CONFIGURERS, body=RULE),
    Use("DELETE", "/v1/units/{unit_id}/rules/{rule_id}", CONFIGURERS),
    Use("GET", "/v1/units/{unit_id}/maintenance-windows", READERS),
    Use("POST", "/v1/units/{unit_id}/maintenance-windows", CONFIGURERS, 201, WINDOW),
    Use("DELETE", "/v1/units/{unit_id}/maintenance-windows/{window_id}", CONFIGURERS, 204),
    Use("GET", "/v1/contacts", READERS),
    Use("POST", "/v1/contacts", CONFIGURERS, 201, {"name": "New"}),
    Use("GET", "/v1/contacts/{user_id}", READERS),
    Use("PUT", "/v1/contacts/{user_id}", CONFIGURERS, body={"name": "Renamed"}),
    Use("DELETE", "/v1/contacts/{user_id}", CONFIGURERS, 204),
    Use("GET", "/v1/contacts/{user_id}/export", ADMINS),
    Use("GET", "/v1/escalation", READERS),
    Use("PUT", "/v1/escalation", CONFIGURERS, body={"levels": []}),
    Use("GET", "/v1/digest-preferences", READERS),
    Use("GET", "/v1/digest-preferences/{user_id}", READERS),
    Use("PUT", "/v1/digest-preferences/{user_id}", CONFIGURERS, body={"cadences": ["weekly"]}),
    Use("POST", "/v1/digest-preferences/{user_id}/pause", CONFIGURERS),
    Use("POST", "/v1/digest-preferences/{user_id}/resume", CONFIGURERS),
    Use("DELETE", "/v1/digest-preferences/{user_id}", CONFIGURERS, 204),
    Use("GET", "/v1/digests", READERS),
    Use("POST", "/v1/digests", CONFIGURERS, 202, {"user_id": "ann"}),
    Use("GET", "/v1/digests/preview", READERS),
    Use("GET", "/v1/alerts", READERS),
    Use("GET", "/v1/alerts/{alert_id}", READERS),
    Use("GET", "/v1/alerts/{alert_id}/timeline", READERS),
    Use("POST", "/v1/alerts/{alert_id}/acknowledge", READERS, 202),
    Use("POST", "/v1/alerts/{alert_id}/notify", READERS, 202),
    Use("POST", "/v1/alerts/{alert_id}/silence", READERS, 202, {"minutes": 30}),
    Use("GET", "/v1/sms-log", READERS),
    Use("GET", "/v1/dead-letters", CONFIGURERS),
    Use("POST", "/v1/dead-letters/{failure_id}/retry", CONFIGURERS, 202, {"force": True}),
    Use("POST", "/v1/dead-letters/retry", CONFIGURERS, 200, {}),
    Use("GET", "/v1/api-keys", ADMINS),
    Use("GET", "/v1/audit", ADMINS),
    Use("POST", "/v1/api-keys", ADMINS, 201, {"name": "New", "role": "member"}),
]
# In files of their own: a broker is needed, the body names the contact, the role needs a key over all organizations,
# the id of a key is not known beforehand; and what is open to everybody.
ELSEWHERE = {
    ("POST", "/v1/readings"),
    ("POST", "/v1/digest-preferences"),
    ("POST", "/v1/sms/{request_id}/rerun"),
    ("GET", "/v1/organizations"),
    ("PUT", "/v1/organizations/{organization_id}"),
    ("DELETE", "/v1/api-keys/{key_id}"),
    ("POST", "/webhooks/telnyx"),
    ("POST", "/v1/webhooks/the-things-stack"),
    ("POST", "/v1/webhooks/disruptive"),
    ("GET", "/unsubscribe/{token}"),
    ("POST", "/unsubscribe/{token}"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
}


def title(use: Use) -> str:
    return f"{use.method} {use.route}"


async def contents(api: Api) -> dict[str, list[str]]:
    """Every row of every table, but for when keys were used."""
    found = {}
    async with api.database.connect() as connection:
        for table in metadata().tables:
            rows = await connection.execute(
                text(f"SELECT (to_jsonb(t) - 'last_used_at')::text FROM {table} t ORDER BY 1")
            )
            found[table] = list(rows.scalars())
    return found


OF_KEYS = ("api_keys", "audit_trail", "audit_personal")


async def use_it(api: Api, use: Use, headers: dict[str, str]) -> Any:
    return await api.client.request(use.method, use.path, json=use.body, headers=headers)


async def test_every_endpoint_is_in_the_table(api: Api) -> None:
    paths: dict[str, dict[str, Any]] = (await api.client.get("/openapi.json")).json()["paths"]
    there = {(method.upper(), path) for path, operations in paths.items() for method in operations}
    assert there == {(use.method, use.route) for use in USES} | ELSEWHERE


@pytest.mark.parametrize("use", USES, ids=title)
async def test_each_role_may_do_what_it_should_and_no_more(api: Api, use: Use) -> None:
    await furnish(api.database)
    before = await contents(api)
    for role in set(Role) - use.roles:
        key = await api.key(role, "acme")
        answer = await use_it(api, use, key)
        assert (answer.status_code, role) == (403, role), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    # The keys of this test are rows too, and so are their entries in the audit trail.
    assert await contents(api) | {name: before[name] for name in OF_KEYS} == before

    answer = await use_it(api, use, await api.key(min(use.roles, key=list(Role).index), "acme"))
    assert answer.status_code == use.status, answer.text


@pytest.mark.parametrize("use", USES, ids=title)
async def test_without_a_key_nothing_is_told(api: Api, use: Use) -> None:
    answer = await use_it(api, use, {})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="freshtrack"')


@pytest.mark.parametrize("use", [use for use in USES if use.of_one_thing], ids=title)
async def test_another_organizations_key_sees_and_changes_nothing(api: Api, use: Use) -> None:
    await furnish(api.database)
    key = await api.key(Role.ADMIN, "other")
    before = await contents(api)

    answer = await use_it(api, use, key)

    assert answer.status_code == 404, answer.text
    assert await contents(api) == before


@pytest.mark.parametrize(
    "path",
    [
        "/v1/units",
        "/v1/contacts",
        "/v1/digest-preferences",
        "/v1/alerts",
        "/v1/sms-log",
        "/v1/dead-letters",
        "/v1/api-keys",
        "/v1/audit",
    ],
)
async def test_lists_hold_the_own_organizations_rows_only(api: Api, path: str) -> None:
    await furnish(api.database)
    mine, theirs = await api.key(Role.ADMIN, "acme"), await api.key(Role.ADMIN, "other")

    shown = (await api.client.get(path, headers=mine)).json()["items"]
    others = (await api.client.get(path, headers=theirs)).json()["items"]

    assert shown
    # The only things that the other organization has are itself and its key.
    assert len(others) == {"/v1/api-keys": 1, "/v1/audit": 2}.get(path, 0)
    assert not [row for row in others if row in shown]


async def test_a_chain_or_a_digest_cannot_name_another_organizations_contact(api: Api) -> None:
    await furnish(api.database)
    key = await api.key(Role.OPS, "other")
    before = await contents(api)

    chain = await api.client.put("/v1/escalation", json={"levels": [["ann"]]}, headers=key)
    digest = await api.client.post("/v1/digest-preferences", json={"user_id": "ann"}, headers=key)

    assert (chain.status_code, chain.json()["errors"][0]["pointer"]) == (422, "/levels/0/0")
    assert digest.status_code == 404
    assert await contents(api) == before


async def test_a_key_for_all_organizations_names_one_in_a_header(api: Api) -> None:
    await furnish(api.database)
    key = await api.key(Role.ADMIN, None)

    unnamed = await api.client.get("/v1/units", headers=key)
    named = await api.client.get("/v1/units", headers=key | {"FreshTrack-Organization": "acme"})
    missing = await api.client.post(
        "/v1/units", json={"name": "New"}, headers=key | {"FreshTrack-Organization": "nobody"}
    )

    assert (unnamed.status_code, named.status_code, missing.status_code) == (400, 200, 404)
    assert [unit["unit_id"] for unit in named.json()["items"]] == ["fridge"]


async def test_an_organizations_key_cannot_name_another_in_the_header(api: Api) -> None:
    await furnish(api.database)
    key = await api.key(Role.ADMIN, "other")
    answer = await api.client.get("/v1/units", headers=key | {"FreshTrack-Organization": "acme"})
    assert answer.json()["items"] == []
