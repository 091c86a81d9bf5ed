"""An organization's fallback contact: one of its own, until that contact is deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from schemas.roles import Role
from tests.api.worlds import furnish

if TYPE_CHECKING:
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def test_the_fallback_is_a_contact_of_the_organization_until_that_is_deleted(api: Api) -> None:
    await furnish(api.database)
    admin = await api.key(Role.ADMIN, "acme")
    body = {"name": "Acme", "fallback_user_id": "ann"}
    unknown = await api.client.put("/v1/organization", json=body | {"fallback_user_id": "nobody"}, headers=admin)
    assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (422, "/fallback_user_id"), unknown.text
    put = await api.client.put("/v1/organization", json=body, headers=admin)
    assert (put.status_code, put.json()["fallback_user_id"]) == (200, "ann"), put.text
    deleted = await api.client.delete("/v1/contacts/ann", headers=admin)
    assert deleted.status_code == 204, deleted.text
    organization = await api.client.get("/v1/organization", headers=admin)
    assert organization.json()["fallback_user_id"] is None
    told = [message for topic, _, message in await api.outbox() if topic == "organizations"]
    assert [message and message.get("fallback_user_id") for message in told] == ["acme/ann", None]
