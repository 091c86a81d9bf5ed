"""A POST that is sent again does nothing twice and gets the same answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from api.authentication import Caller
from api.idempotency import _owner
from schemas.roles import Role

if TYPE_CHECKING:
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

FRIDGE = {"name": "Fridge"}


@pytest.fixture
async def ops(api: Api) -> dict[str, str]:
    return await api.key(Role.OPS, "acme") | {"Idempotency-Key": "one"}


async def test_the_same_request_again_gets_the_first_answer(api: Api, ops: dict[str, str]) -> None:
    first = await api.client.post("/v1/units", json=FRIDGE, headers=ops)
    again = await api.client.post("/v1/units", json=FRIDGE, headers=ops)

    assert (again.status_code, again.content) == (201, first.content)
    for header in ("etag", "location", "content-type"):
        assert again.headers[header] == first.headers[header]
    assert again.headers["idempotency-replayed"] == "true"
    assert len(await api.outbox()) == 1


async def test_many_at_the_same_time_make_one(api: Api, ops: dict[str, str]) -> None:
    answers = await asyncio.gather(*(api.client.post("/v1/units", json=FRIDGE, headers=ops) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len(await api.outbox()) == 1


async def test_another_request_under_the_same_name_is_refused(api: Api, ops: dict[str, str]) -> None:
    await api.client.post("/v1/units", json=FRIDGE, headers=ops)
    other = await api.client.post("/v1/units", json={"name": "Freezer"}, headers=ops)
    assert (other.status_code, other.json()["type"]) == (422, "urn:freshtrack:idempotency-key-reused")


async def test_a_request_that_failed_may_be_sent_again(api: Api, ops: dict[str, str]) -> None:
    body = {"user_id": "ann"}
    failed = await api.client.post("/v1/digest-preferences", json=body, headers=ops)
    await api.client.post(
        "/v1/contacts", json={"user_id": "ann", "name": "Ann"}, headers=ops | {"Idempotency-Key": "2"}
    )
    again = await api.client.post("/v1/digest-preferences", json=body, headers=ops)
    assert (failed.status_code, again.status_code) == (404, 201)


async def test_two_keys_may_use_the_same_name(api: Api, ops: dict[str, str]) -> None:
    other = await api.key(Role.OPS, "acme") | {"Idempotency-Key": "one"}
    first = await api.client.post("/v1/units", json=FRIDGE, headers=ops)
    second = await api.client.post("/v1/units", json=FRIDGE, headers=other)
    assert first.json()["unit_id"] != second.json()["unit_id"]


@pytest.mark.parametrize("name", ["", "x" * 201, "two words"])
async def test_a_name_that_is_none_is_refused(api: Api, ops: dict[str, str], name: str) -> None:
    answer = await api.client.post("/v1/units", json=FRIDGE, headers=ops | {"Idempotency-Key": name})
    assert answer.status_code == 422


def test_contacts_who_are_signed_in_without_a_key_do_not_share_their_names() -> None:
    ann, bo = (Caller("", Role.MEMBER, "acme", user_id) for user_id in ("ann", "bo"))
    assert _owner(ann) != _owner(bo)
