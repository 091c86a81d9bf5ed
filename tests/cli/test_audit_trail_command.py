"""`freshtrack audit-trail`: what commands and requests changed, in one line each."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from schemas.roles import Role
from tests.cli.served_api import app_of, serving

if TYPE_CHECKING:
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

ROOT = Path(__file__).resolve().parents[2]


async def freshtrack(env: dict[str, str], *arguments: str) -> str:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]} | env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_a_key_made_by_command_names_its_maker_and_host_and_not_its_secret(api: Api) -> None:
    address = api.database.url.render_as_string(hide_password=False)
    key = (
        await freshtrack(
            {"DATABASE_URL": address}, "key", "create", "--role", "admin", "--name", "seed", "--organization", "acme"
        )
    ).strip()
    with serving(app_of(api), {"Authorization": f"Bearer {key}"}) as client:
        assert client.post("/v1/units", json={"unit_id": "cold", "name": "Cold room"}).status_code == 201
        env = {"FRESHTRACK_API_KEY": key, "FRESHTRACK_API_URL": str(client.base_url)}
        shown = (await freshtrack(env, "audit-trail")).splitlines()
        [line] = (await freshtrack(env, "audit-trail", "--kind", "api_key", "--json")).splitlines()

    unit, made, *_ = shown
    assert f"key:{key.split('.')[1]} from 127.0.0.1  unit.created cold: " in unit
    assert 'name null -> "Cold room"' in unit
    assert f"command of {getpass.getuser()} from {socket.gethostname()}  api_key.created" in made
    assert json.loads(line)["after"]["role"] == Role.ADMIN
    assert key.split(".")[2] not in "".join(shown)
