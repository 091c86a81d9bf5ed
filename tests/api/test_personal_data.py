"""A person's rights over HTTP: an admin erases with a receipt and exports everything; others do neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from schemas.roles import Role
from tests.api.worlds import furnish

if TYPE_CHECKING:
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

ERASE = "/v1/contacts/ann?erase=true"


async def test_an_erasure_gives_a_receipt_again_and_again(api: Api) -> None:
    await furnish(api.database)
    admin = await api.key(Role.ADMIN, "acme")
    first, again = [await api.client.delete(ERASE, headers=admin) for _ in range(2)]
    assert (first.status_code, again.status_code) == (200, 200), first.text
    assert first.json()["receipt_id"] == again.json()["receipt_id"]
    assert "ann" not in first.text
    assert (await api.client.get("/v1/contacts/ann", headers=admin)).status_code == 404
    shown = (await api.client.get("/v1/audit", headers=admin)).text
    assert "contact.deleted" in shown
    assert "+12025550101" not in shown


async def test_somebody_who_was_deleted_earlier_can_be_erased_still(api: Api) -> None:
    await furnish(api.database)
    admin = await api.key(Role.ADMIN, "acme")
    assert (await api.client.delete("/v1/contacts/ann", headers=admin)).status_code == 204
    assert (await api.client.delete(ERASE, headers=admin)).status_code == 200


async def test_an_erasure_takes_an_admin_of_the_organization(api: Api) -> None:
    await furnish(api.database)
    ops, other = await api.key(Role.OPS, "acme"), await api.key(Role.ADMIN, "other")
    assert (await api.client.delete(ERASE, headers=ops)).status_code == 403
    assert (await api.client.delete(ERASE, headers=other)).status_code == 404
    assert (await api.client.get("/v1/contacts/ann", headers=ops)).status_code == 200


async def test_an_export_shows_what_is_kept_about_a_contact(api: Api) -> None:
    await furnish(api.database)
    admin = await api.key(Role.ADMIN, "acme")
    exported = (await api.client.get("/v1/contacts/ann/export", headers=admin)).json()
    assert exported["tables"]["users"][0]["phone_e164"] == "+12025550101"
    assert exported["tables"]["sms_alert_log"][0]["outcome"] == "sent"
