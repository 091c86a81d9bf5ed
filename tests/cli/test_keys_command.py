"""`freshtrack key`: made once, listed without the secret, revoked."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from database.configuration import ApiKeyRow

if TYPE_CHECKING:
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

ROOT = Path(__file__).resolve().parents[2]


async def freshtrack(api: Api, *arguments: str) -> subprocess.CompletedProcess[str]:
    address = api.database.url.render_as_string(hide_password=False)
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env={"DATABASE_URL": address},
        capture_output=True,
        text=True,
        check=False,
    )


async def status_of(api: Api, key: str) -> int:
    return (await api.client.get("/v1/units", headers={"Authorization": f"Bearer {key}"})).status_code


async def test_a_key_works_until_it_is_revoked(api: Api) -> None:
    made = await freshtrack(api, "key", "create", "--role", "ops", "--name", "seed", "--organization", "acme")
    key = made.stdout.strip()
    assert (made.returncode, await status_of(api, key)) == (0, HTTPStatus.OK)

    listed = await freshtrack(api, "key", "list")
    key_id, secret = key.split(".")[1:]
    assert key_id in listed.stdout
    assert secret not in listed.stdout

    assert (await freshtrack(api, "key", "revoke", key_id)).returncode == 0
    assert await status_of(api, key) == HTTPStatus.UNAUTHORIZED
    assert (await freshtrack(api, "key", "revoke", key_id)).returncode == 1


async def test_the_secret_is_not_in_the_database(api: Api) -> None:
    made = await freshtrack(api, "key", "create", "--role", "admin", "--name", "all")
    secret = made.stdout.strip().rsplit(".", 1)[1]
    async with AsyncSession(api.database) as session:
        row = (await session.scalars(select(ApiKeyRow))).one()
    assert secret not in repr(vars(row))


async def test_an_organization_is_made_only_when_it_is_named(api: Api) -> None:
    command = ("key", "create", "--role", "ops", "--name", "x", "--organization", "new")
    refused = await freshtrack(api, *command)
    assert (refused.returncode, "There is no organization new" in refused.stderr) == (1, True)
    assert (await freshtrack(api, *command, "--organization-name", "New Ltd")).returncode == 0


async def test_only_an_admins_key_may_be_for_all_organizations(api: Api) -> None:
    refused = await freshtrack(api, "key", "create", "--role", "gateway", "--name", "x")
    assert (refused.returncode, "needs --organization" in refused.stderr) == (2, True)
