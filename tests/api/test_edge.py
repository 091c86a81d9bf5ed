"""What every answer has in common: security headers, limits, problems, and no trace of the code."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema
import msgspec
import pytest
from sqlalchemy.exc import OperationalError

from api.app import create_app
from api.settings import ApiSettings
from database.engine import DatabaseSettings
from schemas.http.problems import ProblemBody
from schemas.roles import Role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

    from broker.settings import KafkaSettings
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture
async def small(kafka_address: KafkaSettings) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """An application with small limits, no database and no broker, and three routes that go wrong."""
    address = DatabaseSettings(url="postgresql://nobody@127.0.0.1:1/none")
    app = create_app(
        ApiSettings(body_limit_bytes=2_000, readings_limit_bytes=2_000, time_limit_s=2), address, kafka_address
    )

    async def fail() -> None:
        raise RuntimeError("a secret of the code")

    async def hang() -> None:
        await asyncio.Event().wait()

    async def lose() -> None:
        raise OperationalError("SELECT secret", {}, OSError("gone"))

    for path, endpoint in (("/fail", fail), ("/hang", hang), ("/lose", lose)):
        app.add_api_route(path, endpoint)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.example.com") as client,
    ):
        yield app, client


def assert_is_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    body: dict[str, Any] = answer.json()
    jsonschema.validate(body, ProblemBody.model_json_schema())
    assert body["status"] == status
    return body


@pytest.mark.parametrize(("path", "status"), [("/fail", 500), ("/hang", 503), ("/lose", 503), ("/nowhere", 404)])
async def test_what_goes_wrong_is_a_problem_without_a_trace_of_the_code(
    small: tuple[FastAPI, httpx.AsyncClient], path: str, status: int
) -> None:
    answer = await small[1].get(path)
    assert_is_problem(answer, status)
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_a_method_that_is_not_there_is_a_problem(small: tuple[FastAPI, httpx.AsyncClient]) -> None:
    answer = await small[1].delete("/v1/units")
    assert_is_problem(answer, 405)


async def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(
    small: tuple[FastAPI, httpx.AsyncClient],
) -> None:
    async def unannounced() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b" " * 100

    announced = await small[1].post("/v1/readings", content=b" " * 3_000)
    assert_is_problem(announced, 413)
    # A key is checked first: without a database nobody is let as far as the body.
    streamed = await small[1].post("/v1/units", content=unannounced(), headers={"Content-Type": "application/json"})
    assert streamed.status_code in (401, 413)


async def test_without_a_database_requests_are_told_to_come_again(small: tuple[FastAPI, httpx.AsyncClient]) -> None:
    key = {"Authorization": f"Bearer ft.{'0' * 32}.secret"}
    assert_is_problem(await small[1].get("/v1/units", headers=key), 503)
    ready = await small[1].get("/readyz")
    assert (ready.status_code, ready.json()["database"]) == (503, "does not answer")
    assert (await small[1].get("/healthz")).json() == {"status": "ok"}


async def test_every_answer_carries_the_security_headers(api: Api) -> None:
    for path in ("/healthz", "/metrics", "/openapi.json", "/v1/units"):
        headers = (await api.client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


async def test_a_body_that_is_no_json_is_told_apart_from_a_wrong_one(api: Api) -> None:
    key = await api.key(Role.OPS, "acme") | {"Content-Type": "application/json"}
    broken = await api.client.post("/v1/units", content=b"{", headers=key)
    wrong = await api.client.post("/v1/units", content=b"[]", headers=key)
    assert assert_is_problem(broken, 400)["type"] == "urn:freshtrack:not-json"
    assert assert_is_problem(wrong, 422)["type"] == "urn:freshtrack:invalid"


async def test_requests_are_counted_by_route_and_not_by_what_was_in_the_path(api: Api) -> None:
    key = await api.key(Role.MEMBER, "acme")
    await api.client.get("/v1/units/some-unit", headers=key)
    numbers = (await api.client.get("/metrics")).text
    assert 'freshtrack_api_requests_total{method="GET",route="/v1/units/{unit_id}",status="404"}' in numbers
    assert "some-unit" not in numbers


async def test_a_database_of_another_revision_is_not_ready(api: Api) -> None:
    async with api.database.begin() as connection:
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'r0001'")
    ready = await api.client.get("/readyz")
    assert (ready.status_code, "needs" in ready.json()["database"]) == (503, True)


async def test_the_openapi_document_is_complete(api: Api) -> None:
    document = (await api.client.get("/openapi.json")).json()
    text = str(document)
    names = set(document["components"]["schemas"])
    for part in text.split("#/components/schemas/")[1:]:
        assert part.split("'")[0] in names
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation.get("summary"), (method, path)
            if path.startswith("/v1/"):
                assert operation.get("description"), (method, path)
                assert {"401", "403"} <= operation["responses"].keys(), (method, path)


@pytest.mark.parametrize(("address", "is_open", "status"), [("192.0.2.7", False, 403), ("192.0.2.7", True, 200)])
async def test_metrics_are_for_this_machine_until_a_setting_opens_them(
    api: Api, address: str, is_open: bool, status: int
) -> None:
    services = api.app.state.services
    settings = services.settings.model_copy(update={"metrics_open": is_open})
    api.app.state.services = msgspec.structs.replace(services, settings=settings)
    elsewhere = httpx.ASGITransport(api.app, client=(address, 1))
    async with httpx.AsyncClient(transport=elsewhere, base_url="http://api.example.com") as client:
        assert (await client.get("/metrics")).status_code == status
    assert (await api.client.get("/metrics")).status_code == 200
