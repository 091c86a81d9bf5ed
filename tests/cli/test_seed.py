"""Filling a system through its API: everything arrives, a second time changes nothing, and errors say where."""

from __future__ import annotations

import operator
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec.structs import replace
from sqlalchemy import func, select

from cli.seed.apply import sow, sow_unit
from cli.seed.demo import demo_seed
from cli.seed.seed_file import SeedError, read_seed, unit_with_limits
from database.queues import OutboxRow
from producers.demo_fleet import demo_fleet
from schemas import messages as m
from schemas.roles import Role
from tests.cli.served_api import app_of, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

ROOT = Path(__file__).resolve().parents[2]
FILE = """\
organizations:
  - organization_id: north
    name: North Pole
    sms_per_hour: 40
    units:
      - unit_id: sledge
        name: Sledge
        rules:
          - {rule_id: warm, limit: high, severity: critical, limit_c: -5, clear_c: -6.5}
          - {rule_id: Cold, limit: low, severity: warning, limit_c: -40}
        maintenance:
          - {starts_at: 2026-12-24T18:00:00+02:00, ends_at: 2026-12-26T00:00:00Z, reason: Busy}
    contacts:
      - {user_id: nick, name: Nick, phone_e164: +12025550101, digest: {cadences: [weekly, daily], hour: 6}}
      - {user_id: elf, name: No, email: elf@example.com, on_duty: false}
    escalation: [[nick], [elf]]
"""


@pytest.fixture
async def client(api: Api) -> AsyncIterator[httpx.Client]:
    """The API of the test's database, with a key for all organizations."""
    with serving(app_of(api), await api.key(Role.ADMIN, None)) as running:
        yield running


async def newest(api: Api) -> dict[tuple[str, str], Any]:
    return {(topic, key): value for topic, key, value in await api.outbox()}


async def test_the_demo_arrives_as_it_is_and_a_second_time_changes_nothing(api: Api, client: httpx.Client) -> None:
    fleet = demo_fleet()
    first = sow(client, *demo_seed(fleet))
    rule_id = operator.attrgetter("rule_id")

    assert {done.kind: done.made for done in first} == {
        "organizations": 2,
        "contacts": 6,
        "digest preferences": 6,
        "escalation chains": 0,
        "units": 12,
    }
    sent = await newest(api)
    for topic, key, messages in (
        ("units", "unit_id", [replace(unit, rules=tuple(sorted(unit.rules, key=rule_id))) for unit in fleet.units]),
        ("contacts", "user_id", fleet.contacts),
        ("digest-preferences", "user_id", fleet.digest_preferences),
    ):
        for message in messages:
            arrived = msgspec.convert(sent[topic, getattr(message, key)], type(message))
            assert arrived == message

    count = len(await api.outbox())
    second = sow(client, *demo_seed(fleet))
    assert [(done.made, done.changed) for done in second] == [(0, 0)] * len(second)
    assert len(await api.outbox()) == count


async def test_a_file_arrives_with_its_windows_and_only_what_differs_is_changed(
    api: Api, client: httpx.Client, tmp_path: Path
) -> None:
    file = tmp_path / "seed.yaml"
    file.write_text(FILE)
    sow(client, *read_seed(file))
    sent = await newest(api)
    unit = msgspec.convert(sent["units", "north/sledge"], m.UnitConfig)
    assert {(rule.rule_id, rule.limit_c, rule.clear_c) for rule in unit.rules} == {
        ("Cold", -40.0, None),
        ("warm", -5.0, -6.5),
    }
    assert unit.maintenance == (m.MaintenanceWindow(1_798_128_000_000, 1_798_243_200_000),)
    nick = msgspec.convert(sent["contacts", "north/nick"], m.Contact)
    assert (nick.phone_e164, nick.organization_sms_per_hour) == ("+12025550101", 40)
    assert sent["contacts", "north/elf"]["escalation_level"] == 2
    assert sent["digest-preferences", "north/nick"]["cadences"] == ["daily", "weekly"]

    file.write_text(FILE.replace("limit_c: -5,", "limit_c: -4,").replace("reason: Busy", "reason: Very busy"))
    done = {str(line) for line in sow(client, *read_seed(file))}
    assert done == {
        "organizations          0 made, 0 changed, 1 as they were",
        "contacts               0 made, 0 changed, 2 as they were",
        "digest preferences     0 made, 0 changed, 1 as they were",
        "escalation chains      0 made, 0 changed, 1 as they were",
        "units                  0 made, 1 changed, 0 as they were",
        "maintenance windows    1 made, 0 changed, 0 as they were",
    }


async def test_what_the_api_refuses_is_told_with_its_line(client: httpx.Client, tmp_path: Path) -> None:
    file = tmp_path / "seed.yaml"
    file.write_text(FILE.replace("+12025550101", "+19995550101"))
    with pytest.raises(SeedError, match=r"seed\.yaml:14: organizations\.0\.contacts\.0\.phone_e164: .*\(422\)"):
        sow(client, *read_seed(file))
    file.write_text(FILE.replace("[[nick], [elf]]", "[[nick], [fairy]]"))
    with pytest.raises(SeedError, match=r"seed\.yaml:16: .*escalation.*: there is no contact fairy \(422\)"):
        sow(client, *read_seed(file))


async def test_a_key_of_another_organization_or_none_is_told_what_to_do(
    api: Api, client: httpx.Client, tmp_path: Path
) -> None:
    file = tmp_path / "seed.yaml"
    file.write_text(FILE)
    seed = read_seed(file)
    client.headers.update(await api.key(Role.ADMIN, "acme"))
    with pytest.raises(SeedError, match="the key is for acme, this is north"):
        sow(client, *seed)
    client.headers["Authorization"] = "Bearer ft.nobody.x"
    with pytest.raises(SeedError, match="freshtrack key create --role admin"):
        sow(client, *seed)
    async with api.database.connect() as connection:
        assert (await connection.execute(select(func.count()).select_from(OutboxRow))).scalar_one() == 0


async def test_a_busy_api_is_asked_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six requests a second for one key, and more are needed."""
    now_s = 0.0

    def pause(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    monkeypatch.setattr("cli.api_client.time.sleep", pause)
    with serving(app_of(api, lambda: now_s, requests_per_s=5), await api.key(Role.ADMIN, None)) as client:
        done = sow(client, *demo_seed(demo_fleet()))
    assert sum(line.made for line in done) == 26
    assert now_s > 5


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("limit_c: -5,", "limit_c: cold,", r":9: organizations\.0\.units\.0\.rules\.0\.limit_c: .*number.*'cold'"),
        ("clear_c: -6.5", "clear_c: -3", r":9: .*clear_c -3\.0 must be at or below limit_c -5\.0"),
        ("user_id: elf", "user: elf", r":15: organizations\.0\.contacts\.1\.user_id: Field required"),
        ("name: Sledge", "name: Sledge\n        name: Sleigh", r":7: .*units\.0\.name stands a second time in line 8"),
        ("2026-12-24T18:00:00+02:00", "2026-12-24", r":12: .*starts_at: "),
        ("hour: 6", "hour: 24", r":14: .*hour: .*less than or equal to 23 \(is 24\)"),
        ("+12025550101", "12025550101", r":14: .*phone_e164: .*string"),
        ("organizations:", "- organizations:", r"seed\.yaml: Input should be an object"),
        ("[[nick], [elf]]", "[[nick], [elf]", r"is no YAML"),
        ("name: North Pole", "name: &a [*a]", r"refers to itself|no YAML|valid string"),
    ],
)
def test_a_file_that_is_wrong_says_where_and_why(tmp_path: Path, before: str, after: str, problem: str) -> None:
    file = tmp_path / "seed.yaml"
    assert before in FILE
    file.write_text(FILE.replace(before, after, 1))
    with pytest.raises(SeedError, match=problem):
        read_seed(file)


def test_what_the_demo_prints_is_a_file_that_says_the_same(tmp_path: Path) -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "cli", "seed", "--demo", "--print"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    file = tmp_path / "demo.yaml"
    file.write_text(printed.stdout)
    assert read_seed(file)[0] == demo_seed(demo_fleet())[0]


def test_a_file_that_is_not_there_or_empty_says_so(tmp_path: Path) -> None:
    with pytest.raises(SeedError, match="cannot be read"):
        read_seed(tmp_path / "missing.yaml")
    (tmp_path / "empty.yaml").touch()
    with pytest.raises(SeedError, match=r"empty\.yaml: Input should be an object"):
        read_seed(tmp_path / "empty.yaml")


async def test_one_unit_is_made_for_the_organization_that_is_named(api: Api, client: httpx.Client) -> None:
    unit = unit_with_limits("replayed", 5.0, None, 900)
    with pytest.raises(SeedError, match="the unit: This key is for all organizations: choose one"):
        sow_unit(client, None, unit)
    sow_unit(client, "acme", unit)
    sow_unit(client, "acme", unit)
    [(topic, key, sent)] = await api.outbox()
    assert (topic, key) == ("units", "acme/replayed")
    assert sent is not None
    assert [(rule["limit"], rule["limit_c"]) for rule in sent["rules"]] == [("high", 5.0)]
