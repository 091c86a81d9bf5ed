"""Unsubscribe links: a GET changes nothing, one click takes one summary away, for ever and for nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from database.configuration import DigestPreferenceRow
from domain.digest.unsubscribe import token
from schemas.messages import Cadence
from schemas.roles import Role
from tests.api.worlds import furnish
from tests.api_world import UNSUBSCRIBE_SECRET

if TYPE_CHECKING:
    import httpx

    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

ONE_CLICK = {"List-Unsubscribe": "One-Click"}


def link(cadence: Cadence = Cadence.DAILY, user_id: str = "acme/ann") -> str:
    return f"/unsubscribe/{token(UNSUBSCRIBE_SECRET.encode(), user_id, cadence)}"


@pytest.fixture
async def subscribed(api: Api) -> Api:
    """Ann gets the daily and the weekly summary."""
    await furnish(api.database)
    async with AsyncSession(api.database) as session, session.begin():
        await session.execute(update(DigestPreferenceRow).values(cadences=["daily", "weekly"]))
    return api


async def cadences(api: Api) -> list[str]:
    async with AsyncSession(api.database) as session:
        return (await session.scalars(select(DigestPreferenceRow.cadences))).one()


def is_page(answer: httpx.Response) -> bool:
    policy = answer.headers["content-security-policy"]
    return answer.headers["content-type"].startswith("text/html") and "default-src 'none'" in policy


async def test_the_link_shows_a_button_and_changes_nothing(subscribed: Api) -> None:
    answer = await subscribed.client.get(link())

    assert (answer.status_code, is_page(answer)) == (200, True), answer.text
    assert "Stop the daily summary?" in answer.text
    assert '<form method="post"><button name="List-Unsubscribe" value="One-Click">' in answer.text
    assert await cadences(subscribed) == ["daily", "weekly"]
    assert await subscribed.outbox() == []


async def test_one_click_takes_the_summary_away_and_tells_the_workers_once(subscribed: Api) -> None:
    answers = [await subscribed.client.post(link(), data=ONE_CLICK) for _ in range(2)]

    assert [(answer.status_code, is_page(answer)) for answer in answers] == [(200, True)] * 2
    assert await cadences(subscribed) == ["weekly"]
    [(topic, key, message)] = await subscribed.outbox()
    assert message is not None
    assert (topic, key, message["cadences"]) == ("digest-preferences", "acme/ann", ["weekly"])


async def test_a_link_from_before_ids_were_qualified_still_works(subscribed: Api) -> None:
    async with AsyncSession(subscribed.database) as session, session.begin():
        await session.execute(update(DigestPreferenceRow).values(former_id="ann"))
    await subscribed.client.post(link(user_id="ann"), data=ONE_CLICK)
    assert await cadences(subscribed) == ["weekly"]


async def test_a_mail_program_may_send_the_form_in_parts(subscribed: Api) -> None:
    answer = await subscribed.client.post(link(), files={"List-Unsubscribe": (None, "One-Click")})
    assert (answer.status_code, await cadences(subscribed)) == (200, ["weekly"])


async def test_who_unsubscribed_from_everything_still_has_a_preference(subscribed: Api) -> None:
    for cadence in (Cadence.WEEKLY, Cadence.DAILY):
        assert (await subscribed.client.post(link(cadence), data=ONE_CLICK)).status_code == 200

    ops = await subscribed.key(Role.OPS, "acme")
    shown = await subscribed.client.get("/v1/digest-preferences/ann", headers=ops)
    assert (shown.json()["cadences"], shown.json()["next_runs"]) == ([], [])
    assert shown.json()["timezone"] == "Asia/Kolkata"


@pytest.mark.parametrize("body", [{}, {"List-Unsubscribe": "maybe"}, {"unsubscribe": "One-Click"}])
async def test_another_form_changes_nothing(subscribed: Api, body: dict[str, str]) -> None:
    answer = await subscribed.client.post(link(), data=body)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert await cadences(subscribed) == ["daily", "weekly"]


async def test_a_link_that_is_none_of_ours_is_told_so_kindly(subscribed: Api) -> None:
    forged = f"/unsubscribe/{token(b'x' * 32, 'ann', Cadence.DAILY)}"
    for answer in (
        await subscribed.client.get(forged),
        await subscribed.client.post(forged, data=ONE_CLICK),
        await subscribed.client.get(link()[:-3]),
        await subscribed.client.get("/unsubscribe/%3Cscript%3E"),
    ):
        assert (answer.status_code, is_page(answer)) == (404, True)
        assert "<script>" not in answer.text
    assert await cadences(subscribed) == ["daily", "weekly"]


async def test_a_user_who_is_gone_gets_the_same_answer(subscribed: Api) -> None:
    known = await subscribed.client.post(link(), data=ONE_CLICK)
    gone = await subscribed.client.post(link(user_id="gone"), data=ONE_CLICK)
    assert (gone.status_code, gone.text) == (200, known.text)


async def test_a_huge_form_is_refused(subscribed: Api) -> None:
    answer = await subscribed.client.post(link(), data={"List-Unsubscribe": "x" * 70_000})
    assert answer.status_code == 413
