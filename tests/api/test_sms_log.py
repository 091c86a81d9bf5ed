"""The SMS log by HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from schemas.roles import Role
from tests.api.worlds import BEGAN, decision, failure, furnish

if TYPE_CHECKING:
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture
async def ops(api: Api) -> dict[str, str]:
    """Ann was texted about a1, and was not about a2 because of that."""
    await furnish(api.database)
    async with AsyncSession(api.database) as session, session.begin():
        session.add(decision("rate_limited", 5, alert_id="a2", request_id="s2", by_request_id="s1", until_at=BEGAN))
        session.add(decision("sent", 7, user_id="acme/bob", request_id="s3"))
    return await api.key(Role.OPS, "acme")


async def test_why_nobody_was_called_is_one_question(api: Api, ops: dict[str, str]) -> None:
    answer = await api.client.get("/v1/sms-log", params={"alert_id": "a2", "user_id": "ann"}, headers=ops)
    [entry] = answer.json()["items"]
    assert (entry["outcome"], entry["by_request_id"]) == ("rate_limited", "s1")
    assert entry["until_at"] == "2026-03-01T12:00:00.000Z"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["s3", "s2", "s1"]),
        ({"outcome": "sent"}, ["s3", "s1"]),
        ({"user_id": "bob"}, ["s3"]),
        ({"since": "2026-03-01T12:05:00Z"}, ["s3", "s2"]),
    ],
)
async def test_decisions_are_found_newest_first(
    api: Api, ops: dict[str, str], query: dict[str, str], found: list[str]
) -> None:
    answer = await api.client.get("/v1/sms-log", params=query, headers=ops)
    assert [row["request_id"] for row in answer.json()["items"]] == found


@pytest.mark.parametrize("path", ["/v1/dead-letters", "/v1/sms-log"])
async def test_what_a_provider_wrote_is_shown_without_the_number(api: Api, ops: dict[str, str], path: str) -> None:
    async with AsyncSession(api.database) as session, session.begin():
        session.add(failure(3, failed_at=datetime.now(UTC), error="no such number +12025550123"))
        session.add(decision("failed", at=datetime.now(UTC), error="no such number +12025550123"))
    newest = (await api.client.get(path, params={"limit": 1}, headers=ops)).json()["items"][0]
    assert newest["error"] == "no such number +12*******23"
