"""Two organizations that chose the same ids for everything: neither sees, changes or counts what is the other's.

The endpoints come from the table that covers the OpenAPI document, so a new endpoint is asked here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from database.tenancy import owned
from schemas.roles import Role
from tests.api.test_access import USES, Use, title
from tests.api.worlds import furnish

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

MARK = "Theirs"
NAMES = {"unit_id": "fridge", "rule_id": "high", "user_id": "ann"}
OF_ORGANIZATION = tuple(use for use in USES if use.method == "GET")
CHANGES = tuple(use for use in USES if use.method != "GET")


async def rows_of(database: AsyncEngine, organization: str) -> dict[str, list[str]]:
    """Every row of an organization, and of the queues what names it; but for when keys were used."""
    found = {}
    async with database.connect() as connection:
        for table, condition in owned().items():
            # The trail of the other organization's changes is its own affair; it has none here.
            statement = text(f"SELECT (to_jsonb(t) - 'last_used_at')::text FROM {table} t WHERE {condition} ORDER BY 1")
            found[table] = list((await connection.execute(statement, {"organization": organization})).scalars())
        waiting = text("SELECT topic || key FROM outbox WHERE key LIKE :prefix OR key = :organization")
        named = {"prefix": f"{organization}/%", "organization": organization}
        found["outbox"] = list((await connection.execute(waiting, named)).scalars())
    return found


@pytest.fixture
async def two(api: Api) -> Api:
    await furnish(api.database)
    await furnish(api.database, "other", MARK)
    return api


def path_of(use: Use, mark: str) -> str:
    failure_id = 2 if mark else 1
    return use.route.format(
        **NAMES, window_id=f"w1{mark}", alert_id=f"a1{mark}", key_id="0" * 32, failure_id=failure_id
    )


@pytest.mark.parametrize("use", OF_ORGANIZATION, ids=title)
async def test_no_answer_holds_anything_of_the_other(two: Api, use: Use) -> None:
    mine, theirs = await two.key(Role.ADMIN, "acme"), await two.key(Role.ADMIN, "other")

    shown = await two.client.get(path_of(use, ""), headers=mine)
    shown_to_them = await two.client.get(path_of(use, MARK), headers=theirs)

    assert (shown.status_code, shown_to_them.status_code) == (200, 200)
    assert MARK not in shown.text
    assert "other" not in shown.text.replace("other_", "")
    assert "acme" not in shown_to_them.text.lower()


@pytest.mark.parametrize("use", OF_ORGANIZATION, ids=title)
async def test_people_see_plain_ids(two: Api, use: Use) -> None:
    if use.route.endswith("/export"):
        return  # rows as the tables have them
    answer = await two.client.get(path_of(use, ""), headers=await two.key(Role.ADMIN, "acme"))
    assert "acme/" not in answer.text


@pytest.mark.parametrize("use", CHANGES, ids=title)
async def test_no_change_touches_the_others_rows_or_messages(two: Api, use: Use) -> None:
    mine = await two.key(Role.ADMIN, "acme")
    before = await rows_of(two.database, "other")

    answer = await two.client.request(use.method, path_of(use, ""), json=use.body, headers=mine)

    assert answer.status_code == use.status, answer.text
    assert await rows_of(two.database, "other") == before


@pytest.mark.parametrize(
    "use", [use for use in USES if "{alert_id}" in use.route or "{window_id}" in use.route], ids=title
)
async def test_what_we_name_ourselves_is_missing_for_the_other(two: Api, use: Use) -> None:
    mine = await two.key(Role.ADMIN, "acme")
    before = await rows_of(two.database, "other")

    answer = await two.client.request(use.method, path_of(use, MARK), json=use.body, headers=mine)

    assert answer.status_code == 404, answer.text
    assert await rows_of(two.database, "other") == before
