"""Signing in and out of the web pages, and forms that other sites or old pages send."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.pages.sessions import make_link
from database.configuration import ApiKeyRow, ContactRow
from database.sessions import WebSessionRow
from schemas.roles import Role
from tests.api.worlds import furnish

if TYPE_CHECKING:
    import httpx

    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def signed_in(api: Api, role: Role = Role.OPS, organization_id: str | None = "acme") -> str:
    """The client has the cookie of a new session; the key's text."""
    key = (await api.key(role, organization_id))["Authorization"].removeprefix("Bearer ")
    answer = await api.client.post("/sign-in", data={"key": key, "back": "/alerts"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/alerts"), answer.text
    return key


def csrf_in(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
    assert found, page.text
    return found[1]


async def sessions(api: Api) -> int:
    async with AsyncSession(api.database) as session:
        return len(list(await session.scalars(select(WebSessionRow))))


@pytest.mark.parametrize("path", ["/live", "/alerts", "/alerts/a-1", "/units/u-1", "/live/changes", "/organization"])
async def test_nobody_sees_a_page_without_signing_in(api: Api, path: str) -> None:
    answer = await api.client.get(path)
    assert (answer.status_code, answer.text) == (303, "")
    assert answer.headers["location"] == f"/sign-in?back={path.replace('/', '%2F')}"


async def test_a_key_signs_in_and_out_again(api: Api) -> None:
    await signed_in(api)
    page = await api.client.get("/alerts")
    assert (page.status_code, await sessions(api)) == (200, 1)
    assert "default-src 'none'; script-src 'self'" in page.headers["content-security-policy"]
    answer = await api.client.post("/sign-out", data={"csrf": csrf_in(page)})
    assert (answer.status_code, await sessions(api)) == (303, 0)
    assert (await api.client.get("/alerts")).status_code == 303


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(api: Api) -> None:
    key = (await api.key(Role.MEMBER, "acme"))["Authorization"].removeprefix("Bearer ")
    answer = await api.client.post("/sign-in", data={"key": key})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie


async def test_signing_in_never_takes_over_a_token_that_was_there_before(api: Api) -> None:
    api.client.cookies.set("freshtrack", "planted", domain="api.example.com")
    await signed_in(api)
    assert "planted" not in {cookie.value for cookie in api.client.cookies.jar if cookie.domain == "api.example.com"}
    async with AsyncSession(api.database) as session:
        [row] = await session.scalars(select(WebSessionRow))
    assert b"planted" not in row.token_sha256


@pytest.mark.parametrize("key", ["", "ft.x.y", f"ft.{'0' * 32}.{'x' * 43}", "ft..", "\N{SNOWMAN}"])
async def test_a_wrong_key_is_refused_in_words(api: Api, key: str) -> None:
    answer = await api.client.post("/sign-in", data={"key": key})
    assert answer.status_code == 401
    assert "This is not a valid API key." in answer.text
    assert "set-cookie" not in answer.headers


async def test_a_gateways_key_opens_no_page(api: Api) -> None:
    """A device only sends: whoever takes its key out of it must not see or silence alerts."""
    key = (await api.key(Role.GATEWAY, "acme"))["Authorization"].removeprefix("Bearer ")
    answer = await api.client.post("/sign-in", data={"key": key})
    assert (answer.status_code, await sessions(api)) == (403, 0)
    assert "set-cookie" not in answer.headers
    assert "A key with the role gateway opens no pages." in answer.text


async def test_a_session_ends_when_its_key_becomes_a_gateways(api: Api) -> None:
    await signed_in(api)
    async with AsyncSession(api.database) as session, session.begin():
        await session.execute(update(ApiKeyRow).values(role=Role.GATEWAY))
    assert (await api.client.get("/alerts")).status_code == 303


@pytest.mark.parametrize("back", ["//evil.example.com", "https://evil.example.com", "/\\evil.example.com", "/\r\nX: y"])
async def test_signing_in_leads_to_no_other_site(api: Api, back: str) -> None:
    key = (await api.key(Role.MEMBER, "acme"))["Authorization"].removeprefix("Bearer ")
    answer = await api.client.post("/sign-in", data={"key": key, "back": back})
    assert answer.headers["location"] == "/live"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example.com"},
        {"Origin": "null"},
    ],
)
async def test_a_form_of_another_site_is_refused(api: Api, headers: dict[str, str]) -> None:
    await signed_in(api)
    csrf = csrf_in(await api.client.get("/alerts"))
    for path, data in (("/sign-out", {"csrf": csrf}), ("/sign-in", {"key": "x"})):
        assert (await api.client.post(path, data=data, headers=headers)).status_code == 403
    assert await sessions(api) == 1


@pytest.mark.parametrize("csrf", ["", "0" * 64])
async def test_a_form_without_the_sessions_own_token_is_refused(api: Api, csrf: str) -> None:
    await signed_in(api)
    answer = await api.client.post("/sign-out", data={"csrf": csrf})
    assert answer.status_code == 403
    assert "This form is out of date." in answer.text
    assert await sessions(api) == 1


async def test_signing_out_everywhere_ends_all_sessions_of_the_key_and_no_other(api: Api) -> None:
    await signed_in(api)
    key = await signed_in(api)
    await api.client.post("/sign-in", data={"key": key})
    page = await api.client.get("/alerts")
    await api.client.post("/sign-out", data={"csrf": csrf_in(page), "everywhere": "yes"})
    assert await sessions(api) == 1


@pytest.mark.parametrize("column", ["revoked_at", "expires_at"])
async def test_a_key_that_ends_ends_its_sessions(api: Api, column: str) -> None:
    await signed_in(api)
    async with AsyncSession(api.database) as session, session.begin():
        await session.execute(update(ApiKeyRow).values({column: datetime.now(UTC) - timedelta(seconds=1)}))
    assert (await api.client.get("/alerts")).status_code == 303


@pytest.mark.parametrize("ago", [timedelta(days=7, minutes=1), timedelta(days=31)])
async def test_a_session_ends_after_a_week_unseen_and_after_a_month(api: Api, ago: timedelta) -> None:
    await signed_in(api)
    async with AsyncSession(api.database) as session, session.begin():
        seen = WebSessionRow.seen_at if ago > timedelta(days=30) else WebSessionRow.seen_at - ago
        await session.execute(update(WebSessionRow).values(seen_at=seen, expires_at=WebSessionRow.expires_at - ago))
    assert (await api.client.get("/alerts")).status_code == 303


async def test_a_key_over_all_organizations_chooses_one(api: Api) -> None:
    await signed_in(api, Role.ADMIN, None)
    assert (await api.client.get("/live")).headers["location"] == "/organization"
    page = await api.client.get("/organization")
    assert "Acme Foods" in page.text
    answer = await api.client.post("/organization", data={"csrf": csrf_in(page), "organization": "acme"})
    assert answer.headers["location"] == "/live"
    assert (await api.client.get("/alerts")).status_code == 200


async def test_nobody_else_chooses_an_organization(api: Api) -> None:
    await signed_in(api)
    csrf = csrf_in(await api.client.get("/alerts"))
    assert (await api.client.post("/organization", data={"csrf": csrf, "organization": "other"})).status_code == 403


@pytest.fixture
async def link(api: Api) -> str:
    """A sign-in link of Ann's."""
    await furnish(api.database)
    async with api.app.state.services.transaction() as session:
        return await make_link(session, api.app.state.services, "acme/ann")


async def test_a_link_signs_in_once_and_only_by_its_button(api: Api, link: str) -> None:
    for _ in range(2):
        page = await api.client.get(link)
        assert "Sign in as" in page.text
        assert await sessions(api) == 0
    answer = await api.client.post(link)
    assert (answer.status_code, await sessions(api)) == (303, 1)
    assert (await api.client.get("/alerts")).status_code == 200
    again = await api.client.post(link)
    assert (again.status_code, await sessions(api)) == (410, 1)
    assert (await api.client.get(link)).status_code == 410


async def test_a_link_works_for_fifteen_minutes(api: Api, link: str) -> None:
    async with AsyncSession(api.database) as session, session.begin():
        from database.sessions import SignInLinkRow

        await session.execute(update(SignInLinkRow).values(expires_at=datetime.now(UTC)))
    assert (await api.client.post(link)).status_code == 410


async def test_a_contact_who_is_deleted_is_signed_out(api: Api, link: str) -> None:
    await api.client.post(link)
    async with AsyncSession(api.database) as session, session.begin():
        await session.execute(delete(ContactRow).where(ContactRow.user_id == "acme/ann"))
    assert (await api.client.get("/alerts")).status_code == 303
