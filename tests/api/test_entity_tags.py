"""Entity tags: whoever changes configuration can tell which version is meant, and the document says where and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from schemas.roles import Role
from tests.api.test_access import USES, Use, contents, title
from tests.api.worlds import furnish

if TYPE_CHECKING:
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

# A maintenance window is made or ended, never changed; these have nothing to be overwritten.
WITHOUT_VERSION = {"/v1/units/{unit_id}/maintenance-windows/{window_id}"}
CHANGES = [use for use in USES if use.method in {"PUT", "DELETE"} and use.route not in WITHOUT_VERSION]


async def operations(api: Api) -> dict[tuple[str, str], dict[str, Any]]:
    paths = (await api.client.get("/openapi.json")).json()["paths"]
    return {
        (method.upper(), path): operation for path, methods in paths.items() for method, operation in methods.items()
    }


def parameters(operation: dict[str, Any]) -> set[str]:
    return {parameter["name"] for parameter in operation.get("parameters", ())}


async def test_every_change_of_configuration_documents_if_match_and_its_answers(api: Api) -> None:
    found = await operations(api)
    guarded = {key for key, operation in found.items() if "If-Match" in parameters(operation)}
    assert guarded == {(use.method, use.route) for use in CHANGES} | {("PUT", "/v1/organizations/{organization_id}")}
    for key in guarded:
        answers = found[key]["responses"]
        assert "ETag" in answers["412"]["headers"], key
        assert answers["412"]["content"]["application/problem+json"], key
        assert key[0] == "DELETE" or "ETag" in answers["200"]["headers"], key


@pytest.mark.parametrize("use", CHANGES, ids=title)
async def test_a_change_of_another_version_is_refused_and_changes_nothing(api: Api, use: Use) -> None:
    await furnish(api.database)
    admin = await api.key(Role.ADMIN, "acme")
    before = await contents(api)

    stale = await api.client.request(use.method, use.path, json=use.body, headers=admin | {"If-Match": '"stale"'})
    assert (stale.status_code, stale.headers["content-type"]) == (412, "application/problem+json"), stale.text
    assert await contents(api) == before

    newest = admin | {"If-Match": stale.headers["etag"]}
    done = await api.client.request(use.method, use.path, json=use.body, headers=newest)
    assert done.status_code == use.status, done.text


async def test_whoever_has_the_newest_version_is_told_so_without_a_body(api: Api) -> None:
    await furnish(api.database)
    admin = await api.key(Role.ADMIN, "acme")
    cached = {key for key, operation in (await operations(api)).items() if "If-None-Match" in parameters(operation)}
    assert len(cached) == 4
    for use in (use for use in USES if (use.method, use.route) in cached):
        first = await api.client.get(use.path, headers=admin)
        again = await api.client.get(use.path, headers=admin | {"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
