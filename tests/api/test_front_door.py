"""Before anything of a request is read: its key, its size, and how often its address guessed wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import event

from api.app import create_app
from api.settings import ApiSettings
from database.engine import DatabaseSettings
from schemas.roles import Role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from broker.settings import KafkaSettings
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

UNKNOWN = {"Authorization": f"Bearer ft.{'0' * 32}.secret"}


@pytest.fixture
def statements(api: Api) -> Iterator[list[str]]:
    """The statements that the API sends to its database."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    engine = api.app.state.services.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


async def test_nothing_of_a_body_is_read_without_a_valid_key(api: Api) -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(10):
            read += 1
            yield b" " * 1_000

    for method, path in (("POST", "/v1/units"), ("PUT", "/v1/escalation"), ("POST", "/v1/readings")):
        headers = UNKNOWN | {"Content-Type": "application/json"}
        answer = await api.client.request(method, path, content=body(), headers=headers)
        assert (answer.status_code, read) == (401, 0), path


async def test_outside_of_readings_a_body_has_64_kib(api: Api) -> None:
    key = await api.key(Role.OPS, "acme") | {"Content-Type": "application/json"}
    padded = b'{"name": "Fridge"}' + b" " * 65_536
    assert (await api.client.post("/v1/units", content=padded, headers=key)).status_code == 413
    assert (await api.client.post("/v1/webhooks/disruptive", content=padded, headers=key)).status_code == 413
    assert (await api.client.post("/webhooks/telnyx", content=padded)).status_code == 413
    assert (await api.client.post("/v1/readings", content=padded, headers=key)).status_code == 422


@pytest.mark.parametrize("key_id", ["", "0" * 31, "0" * 33, "G" * 32, "' OR 1=1 --", "٣" * 32])
async def test_what_cannot_be_a_keys_id_asks_no_database(api: Api, statements: list[str], key_id: str) -> None:
    header = f"Bearer ft.{key_id}.secret".encode()
    answer = await api.client.get("/v1/units", headers=[(b"Authorization", header)])
    assert (answer.status_code, statements) == (401, [])


@pytest.fixture
async def guarded(api: Api, kafka_address: KafkaSettings) -> AsyncIterator[tuple[httpx.AsyncClient, list[float]]]:
    """An API that caches keys and allows three wrong ones a minute, with its clock."""
    clock = [1_000.0]
    settings = ApiSettings(key_cache_s=5, failed_keys_per_min=3)
    database = DatabaseSettings(url=api.database.url.render_as_string(hide_password=False))
    app = create_app(settings, database, kafka_address, clock=lambda: clock[0])
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, client=("192.0.2.7", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://api.example.com") as client:
            yield client, clock


def wrong_key(number: int) -> dict[str, str]:
    return {"Authorization": f"Bearer ft.{number:032x}.secret"}


async def test_an_address_that_guesses_is_slowed_down_and_others_are_not(
    api: Api, guarded: tuple[httpx.AsyncClient, list[float]]
) -> None:
    client, clock = guarded
    mine = await api.key(Role.MEMBER, "acme")
    assert (await client.get("/v1/units", headers=mine)).status_code == 200

    guesses = [await client.get("/v1/units", headers=wrong_key(number)) for number in range(5)]
    assert [answer.status_code for answer in guesses] == [401, 401, 401, 429, 429]
    assert 1 <= int(guesses[-1].headers["retry-after"]) <= 21
    # Whoever has shown a valid key is served from the same address, also when the cache must be renewed.
    clock[0] += 6
    assert (await client.get("/v1/units", headers=mine)).status_code == 200
    # Twenty seconds allow one more.
    clock[0] += 15
    later = [(await client.get("/v1/units", headers=wrong_key(number))).status_code for number in (6, 7)]
    assert later == [401, 429]


async def test_an_unknown_key_is_asked_for_once_in_a_while(
    guarded: tuple[httpx.AsyncClient, list[float]], api: Api
) -> None:
    client, _ = guarded
    engine = client._transport.app.state.services.engine.sync_engine  # type: ignore[attr-defined]
    seen: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: seen.append(args[2]))
    for _ in range(3):
        assert (await client.get("/v1/units", headers=wrong_key(1))).status_code == 401
    assert len([statement for statement in seen if "api_keys" in statement]) == 1


async def test_readiness_is_asked_for_once_a_second(guarded: tuple[httpx.AsyncClient, list[float]]) -> None:
    client, clock = guarded
    app = client._transport.app  # type: ignore[attr-defined]
    asked: list[float] = []
    services = app.state.services
    app.state.services = type(services)(
        **{name: getattr(services, name) for name in services.__struct_fields__ if name != "broker_answers"},
        broker_answers=lambda limit_s: not asked.append(limit_s),  # type: ignore[func-returns-value]
    )
    for _ in range(3):
        assert (await client.get("/readyz")).status_code == 200
    assert len(asked) == 1
    clock[0] += 1
    await client.get("/readyz")
    assert len(asked) == 2
