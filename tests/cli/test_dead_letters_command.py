"""`dead-letters` and `sms rerun` change a running system through its API, and write to no topic themselves."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncSession
from typer.testing import CliRunner

from cli.__main__ import app
from database.declarative import to_ms
from schemas.messages import encode
from schemas.roles import Role
from tests.api.test_sms_rerun import record
from tests.api.worlds import BEGAN, alert, failure
from tests.cli.served_api import app_of, serving
from tests.domain.redrive.letters import letter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture
async def address(api: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The served API, with a key for all organizations in the environment, and no Kafka there."""
    headers = await api.key(Role.ADMIN, None)
    monkeypatch.setenv("FRESHTRACK_API_KEY", headers["Authorization"].removeprefix("Bearer "))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "400")
    with serving(app_of(api), headers) as client:
        monkeypatch.setenv("FRESHTRACK_API_URL", str(client.base_url))
        yield str(client.base_url)


async def put(api: Api, offset: int, hours: float = 0, **fields: Any) -> None:
    known: dict[str, Any] = {"user_id": "acme/ann", "reason": "exhausted", "error_code": "timeout"}
    async with AsyncSession(api.database) as session, session.begin():
        at = datetime.now(UTC) - timedelta(hours=hours)
        dead = replace(letter(request_id=f"r{offset}"), at_ms=to_ms(at))
        session.add(failure(offset, payload=encode(dead), failed_at=at, **known | fields))


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    return done.exit_code, done.output


def dead_letters(command: str, *arguments: str) -> tuple[int, str]:
    return run("dead-letters", command, "--organization", "acme", *arguments)


@pytest.mark.usefixtures("address")
async def test_dead_letters_are_listed_masked_and_by_filter(api: Api) -> None:
    for number in range(1, 4):
        await put(api, number, hours=number, error="+12025550123 of ann@example.com", user_id=f"acme/u{number}")

    def listed(*options: str) -> list[str]:
        code, told = dead_letters("list", "--json", *options)
        assert code == 0, told
        return [json.loads(line)["letter"] for line in told.splitlines()]

    assert listed() == ["sms-dlq/0/1", "sms-dlq/0/2", "sms-dlq/0/3"]
    assert listed("--since", "150m", "--kind", "sms") == ["sms-dlq/0/1", "sms-dlq/0/2"]
    assert listed("--until", "150m", "--open") == ["sms-dlq/0/3"]
    assert listed("--user", "u2", "--code", "timeout", "--reason", "exhausted") == ["sms-dlq/0/2"]
    assert listed("--kind", "email") == []
    _, told = dead_letters("list", "--limit", "2")
    assert "+12*******23 of a***@example.com" in told
    assert told.splitlines()[-1] == "2 dead letters, there may be more"


@pytest.mark.usefixtures("address")
async def test_named_dead_letters_leave_through_the_outbox_and_refusals_are_shown(api: Api) -> None:
    await put(api, 1)
    await put(api, 2, settled_at=datetime.now(UTC), settled_by="eve")
    assert dead_letters("redrive", "1", "--dry-run") == (
        0,
        "       1  would go to sms-warning as redrive 1\n1 would be sent again, 0 refused\nnothing was done\n",
    )
    assert await api.outbox() == []

    code, told = dead_letters("redrive", "1", "2", "999")

    assert code == 1
    assert "       1  sent to sms-warning as redrive 1" in told
    assert "       2  refused (settled): the dead letter was settled by eve" in told
    assert "     999  refused (unknown): There is no dead letter 999" in told
    assert told.splitlines()[-1] == "1 sent again, 2 refused"
    assert [topic for topic, _, _ in await api.outbox()] == ["sms-warning", "dead-letter-settlements"]


@pytest.mark.usefixtures("address")
async def test_a_filter_sends_nothing_without_yes_and_goes_on_to_its_limit(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.dead_letters.CALL", 2)
    for number in range(1, 6):
        await put(api, number)
    code, told = dead_letters("redrive", "--user", "ann")
    assert (code, told.splitlines()[-2:]) == (0, ["5 would be sent again, 0 refused", "nothing was done"])
    assert await api.outbox() == []

    code, told = dead_letters("redrive", "--user", "ann", "--yes", "--limit", "3")
    assert (code, told.splitlines()[-2:]) == (0, ["more match: run it again", "3 sent again, 0 refused"])
    code, told = dead_letters("redrive", "--all", "--yes")
    assert (code, told.splitlines()[-1]) == (0, "2 sent again, 0 refused")
    assert len(await api.outbox()) == 10


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["redrive"], "give numbers of dead letters, or a filter"),
        (["redrive", "1", "--all"], "not both"),
        (["list", "--kind", "fax"], "'fax' is not one of"),
        (["list", "--since", "2026-03-01"], "write one with its offset"),
    ],
)
def test_an_unclear_command_says_what_it_needs(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    code, told = run("dead-letters", *arguments)
    assert code == 2
    assert words in told


def test_a_missing_key_and_an_api_that_is_away_end_the_command_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRESHTRACK_API_KEY", raising=False)
    monkeypatch.delenv("FRESHTRACK_API_KEY_FILE", raising=False)
    code, told = run("dead-letters", "list")
    assert (code, "freshtrack key create" in told) == (1, True)
    monkeypatch.setenv("FRESHTRACK_API_KEY", "ft.a.b")
    code, told = run("sms", "rerun", "s1", "--url", "http://127.0.0.1:1")
    assert (code, "does not answer" in told) == (1, True)


@pytest.mark.usefixtures("address")
async def test_an_sms_about_an_acknowledged_alert_takes_force(api: Api) -> None:
    await record(api, "s1", "delivered")
    async with AsyncSession(api.database) as session, session.begin():
        session.add(alert("a1", acknowledged_at=BEGAN, acknowledged_by="bob"))
    rerun = ("sms", "rerun", "s1", "--organization", "acme")

    code, told = run(*rerun)
    assert (code, "refused (alert_acknowledged): the alert was acknowledged by bob" in told) == (1, True), told
    assert run(*rerun, "--force", "--dry-run") == (0, "s1  would go to sms-warning as redrive 1\n")
    assert await api.outbox() == []
    assert run(*rerun, "--force") == (0, "s1  sent to sms-warning as redrive 1\n")
    assert [topic for topic, _, _ in await api.outbox()] == ["sms-warning"]
