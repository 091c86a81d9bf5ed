"""Keys of single devices, and the readings a second that an organization may send."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from api.authentication import Caller
from api.problems import Problem
from api.reading_quotas import ReadingQuotas
from schemas.roles import Role
from tests.api.worlds import furnish

if TYPE_CHECKING:
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

NOW_MS = 1_772_366_400_000


async def device_key(api: Api, **bound: str) -> dict[str, str]:
    admin = await api.key(Role.ADMIN, "acme")
    body = {"name": "Sensor", "role": "gateway", **bound}
    made = await api.client.post("/v1/api-keys", json=body, headers=admin)
    assert made.status_code == 201, made.text
    assert {name: made.json()[name] for name in bound} == bound
    return {"Authorization": f"Bearer {made.json()['key']}"}


async def refusal(api: Api, unit_id: str, key: dict[str, str]) -> str:
    body = {"unit_id": unit_id, "at_ms": NOW_MS, "temperature_c": 4.0}
    answer = await api.client.post("/v1/readings", json=body, headers=key)
    # No broker listens: what passes is not stored, what is refused never comes so far.
    if answer.status_code == 503:
        return ""
    found: str = answer.json()["items"][0]["refusals"][0]["detail"]
    return found


@pytest.mark.parametrize(
    ("bound", "passes"), [({"unit_id": "fridge"}, True), ({"gateway_id": "gw"}, True), ({"gateway_id": "gw2"}, False)]
)
async def test_a_devices_key_sends_only_for_what_it_is_bound_to(
    api: Api, bound: dict[str, str], *, passes: bool
) -> None:
    await furnish(api.database)
    admin = await api.key(Role.ADMIN, "acme")
    await api.client.post("/v1/units", json={"unit_id": "cellar", "name": "Cellar"}, headers=admin)
    key = await device_key(api, **bound)

    assert "is not one that this key is bound to" in await refusal(api, "cellar", key)
    assert (await refusal(api, "fridge", key) == "") is passes


@pytest.mark.parametrize(
    "body", [{"role": "ops", "unit_id": "fridge"}, {"role": "gateway", "unit_id": "fridge", "gateway_id": "gw"}]
)
async def test_only_a_gateways_key_is_bound_and_to_one_thing(api: Api, body: dict[str, str]) -> None:
    await furnish(api.database)
    answer = await api.client.post(
        "/v1/api-keys", json={"name": "K", **body}, headers=await api.key(Role.ADMIN, "acme")
    )
    assert answer.status_code == 422


async def test_a_key_cannot_be_bound_to_another_organizations_unit(api: Api) -> None:
    await furnish(api.database)
    body = {"name": "K", "role": "gateway", "unit_id": "fridge"}
    answer = await api.client.post("/v1/api-keys", json=body, headers=await api.key(Role.ADMIN, "other"))
    assert answer.status_code == 404


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_over_the_quota_an_organization_waits_and_another_does_not() -> None:
    clock = Clock()
    quotas = ReadingQuotas(clock)
    acme, other = (Caller("k", Role.GATEWAY, name, readings_per_s=10) for name in ("acme", "other"))

    quotas.use(acme, 100)
    with pytest.raises(Problem) as refused:
        quotas.use(acme, 20)
    quotas.use(other, 100)

    assert (refused.value.status_code, refused.value.headers) == (429, {"Retry-After": "2"})
    clock.now += 2
    quotas.use(acme, 20)


def test_a_request_larger_than_the_burst_passes_alone_and_then_counts() -> None:
    clock = Clock()
    quotas = ReadingQuotas(clock)
    acme = Caller("k", Role.GATEWAY, "acme", readings_per_s=10)
    quotas.use(acme, 1_000)
    clock.now += 89
    with pytest.raises(Problem):
        quotas.use(acme, 100)


async def test_the_operator_sets_the_quota_and_the_api_keeps_it(api: Api) -> None:
    await furnish(api.database)
    operator = await api.key(Role.ADMIN, None)
    terms = {"name": "Acme", "readings_per_s": 1}
    assert (await api.client.put("/v1/organizations/acme", json=terms, headers=operator)).json()["readings_per_s"] == 1
    key = await api.key(Role.GATEWAY, "acme")
    readings = [{"at_ms": NOW_MS + number, "temperature_c": 4.0} for number in range(10)]
    body = {"unit_id": "nowhere", "readings": readings}

    first, second = [await api.client.post("/v1/readings", json=body, headers=key) for _ in range(2)]

    assert (first.status_code, second.status_code, second.headers["retry-after"]) == (422, 429, "10")
