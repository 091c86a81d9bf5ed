"""`freshtrack erase` and `freshtrack export`, where the database is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.api.worlds import furnish
from tests.cli.test_keys_command import freshtrack

if TYPE_CHECKING:
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def test_an_export_and_then_an_erasure_of_a_person(api: Api) -> None:
    await furnish(api.database)
    exported = await freshtrack(api, "export", "ann", "--organization", "acme")
    assert "+12025550101" in exported.stdout

    asked = await freshtrack(api, "erase", "ann", "--organization", "acme")
    assert (asked.returncode, "Nothing was done" in asked.stdout) == (1, True)
    erased = await freshtrack(api, "erase", "ann", "--organization", "acme", "--yes")
    assert json.loads(erased.stdout)["counts"]["users"] == 1

    whole = await freshtrack(api, "export", "--organization", "acme")
    assert "sms_alert_log" in whole.stdout
    assert "+12025550101" not in whole.stdout


async def test_an_erasure_of_an_organization(api: Api) -> None:
    await furnish(api.database)
    erased = await freshtrack(api, "erase", "--organization", "acme", "--yes")
    assert json.loads(erased.stdout)["counts"]["units"] == 1
    again = await freshtrack(api, "erase", "--organization", "acme", "--yes")
    assert (again.returncode, "Nothing is known" in again.stderr) == (1, True)
