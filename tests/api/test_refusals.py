"""What a client got wrong is named in the client's terms, with the nearest right one where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from schemas.roles import Role
from tests.api.worlds import furnish

if TYPE_CHECKING:
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture
async def ops(api: Api) -> dict[str, str]:
    await furnish(api.database)
    return await api.key(Role.OPS, "acme")


@pytest.mark.parametrize(
    ("path", "query", "pointer", "detail"),
    [
        ("/v1/alerts", {"severty": "critical"}, "severty", "did you mean severity?"),
        ("/v1/units", {"gateway": "gw-1"}, "gateway", "did you mean gateway_id?"),
        ("/v1/escalation", {"page": "2"}, "page", "this endpoint takes none"),
        ("/v1/alerts", {"severity": "critcal"}, "severity", "'critcal' is unknown; use critical, warning or info; did"),
        ("/v1/alerts", {"state": "opened"}, "state", "did you mean open?"),
        ("/v1/alerts", {"limit": "many"}, "limit", "must be a whole number"),
        ("/v1/alerts", {"limit": "0"}, "limit", "must be at least 1"),
        ("/v1/alerts", {"since": "yesterday"}, "since", "ISO 8601"),
        ("/v1/alerts", {"unit_id": "a/b"}, "unit_id", "letters, digits"),
    ],
)
async def test_a_query_that_means_nothing_is_refused_by_name(
    api: Api, ops: dict[str, str], path: str, query: dict[str, str], pointer: str, detail: str
) -> None:
    answer = await api.client.get(path, params=query, headers=ops)
    assert answer.status_code == 422, answer.text
    [error] = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert detail in error["detail"]


BODIES: list[tuple[str, str, Any, str]] = [
    ("POST", "/v1/units", {}, "/name: is missing"),
    ("POST", "/v1/units", {"name": 7}, "/name: must be text"),
    ("POST", "/v1/units", {"name": ""}, "/name: must have at least 1 characters"),
    ("POST", "/v1/units", {"name": "two\nlines"}, "/name: must be one line"),
    ("POST", "/v1/units", {"name": "a", "colour": 1}, "/colour: there is no such field"),
    ("POST", "/v1/units", {"name": "a", "expected_interval_s": 1.5}, "/expected_interval_s: must be a whole number"),
    ("POST", "/v1/units", {"name": "a", "rules": {}}, "/rules: must be a list"),
    ("POST", "/v1/units", {"name": "a", "rules": [1]}, "/rules/0: must be an object"),
    ("POST", "/v1/contacts", {"name": "a", "on_duty": "perhaps"}, "/on_duty: must be true or false"),
    ("POST", "/v1/contacts", {"name": "a", "phone_e164": "0123"}, "/phone_e164: must be a phone number"),
    ("POST", "/v1/contacts", {"name": "a", "minimum_severity": "warn"}, "did you mean warning?"),
    ("POST", "/v1/alerts/a1/silence", {"until": "2026-03-01T12:00:00"}, "/until: must be a time in ISO 8601 with"),
    ("POST", "/v1/readings", {"unit_id": 7, "readings": [{}]}, "/unit_id: must be text"),
    ("POST", "/v1/readings", {"unit_id": "fridge", "temperature": 4}, "there is no field temperature"),
    ("POST", "/v1/webhooks/disruptive", {"event": {"targetName": 1}}, "/event/targetName: must be text"),
    ("POST", "/v1/webhooks/the-things-stack", [], "must be an object"),
]


@pytest.mark.parametrize(("method", "path", "body", "detail"), BODIES)
async def test_what_is_wrong_in_a_body_is_said_without_a_validators_words(
    api: Api, ops: dict[str, str], method: str, path: str, body: Any, detail: str
) -> None:
    answer = await api.client.request(method, path, json=body, headers=ops)
    assert answer.status_code == 422, answer.text
    assert detail in answer.json()["detail"]
    for foreign in ("Input should", "Expected `", "String should", "valid ", "`int`"):
        assert foreign not in answer.text


async def test_an_organization_that_does_not_exist_is_refused_with_the_nearest(api: Api) -> None:
    everywhere = await api.key(Role.ADMIN, None)
    answer = await api.client.get("/v1/units", headers=everywhere | {"FreshTrack-Organization": "acne"})
    assert (answer.status_code, "did you mean acme?" in answer.json()["detail"]) == (404, True)


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
async def test_a_body_that_is_not_announced_as_json_is_refused(api: Api, ops: dict[str, str], kind: str | None) -> None:
    headers = ops if kind is None else ops | {"Content-Type": kind}
    answer = await api.client.post("/v1/alerts/a1/acknowledge", content=b'{"note": "Moved"}', headers=headers)
    assert (answer.status_code, "Content-Type: application/json" in answer.json()["detail"]) == (415, True)
    assert (await api.client.post("/v1/alerts/a1/acknowledge", headers=ops)).status_code == 202


async def test_a_method_that_is_not_there_names_those_that_are(api: Api, ops: dict[str, str]) -> None:
    answer = await api.client.patch("/v1/units/fridge", headers=ops)
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, PUT")
