"""Alerts by HTTP: filters, timeline, and orders that reach the workers exactly once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from database.declarative import to_ms
from database.notifications import SmsRequestRow
from database.records import AlertTimelineRow
from schemas.roles import Role
from tests.api.worlds import BEGAN, alert, decision, furnish

if TYPE_CHECKING:
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

LATER = BEGAN + timedelta(hours=1)


@pytest.fixture
async def member(api: Api) -> dict[str, str]:
    """a1 is open, a2 acknowledged, a3 resolved, a4 began last and is a mere warning of another unit."""
    await furnish(api.database)
    async with AsyncSession(api.database) as session, session.begin():
        session.add(alert("a2", 10, acknowledged_at=LATER, acknowledged_by="ann", acknowledged_via="sms"))
        session.add(alert("a3", 10, resolved_at=LATER, resolved_because="recovered", extreme_c=11.0))
        session.add(alert("a4", 20, severity="warning", unit_id="acme/freezer"))
        session.add(AlertTimelineRow(alert_id="a1", organization_id="acme", at=BEGAN, event="second", detail={}))
        session.add(AlertTimelineRow(alert_id="a2", organization_id="acme", at=BEGAN, event="of a2", detail={}))
    return await api.key(Role.MEMBER, "acme")


@pytest.fixture
async def ops(api: Api, member: dict[str, str]) -> dict[str, str]:
    """Who may give commands in somebody else's name, after a call for instance."""
    return await api.key(Role.OPS, "acme")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["a4", "a3", "a2", "a1"]),
        ({"state": "open"}, ["a4", "a1"]),
        ({"state": "acknowledged"}, ["a2"]),
        ({"state": "resolved"}, ["a3"]),
        ({"severity": "warning"}, ["a4"]),
        ({"unit_id": "fridge", "state": "open"}, ["a1"]),
        ({"since": "2026-03-01T12:10:00Z", "until": "2026-03-01T12:20:00Z"}, ["a3", "a2"]),
        ({"since": "2026-03-01T17:40:00+05:30"}, ["a4", "a3", "a2"]),
    ],
)
async def test_alerts_are_found_newest_first(
    api: Api, member: dict[str, str], query: dict[str, str], found: list[str]
) -> None:
    answer = await api.client.get("/v1/alerts", params=query, headers=member)
    assert [row["alert_id"] for row in answer.json()["items"]] == found


@pytest.mark.parametrize(
    "query", [{"state": "gone"}, {"since": "2026-03-01T12:00:00"}, {"since": "yesterday"}, {"limit": "0"}]
)
async def test_a_filter_that_means_nothing_is_refused(api: Api, member: dict[str, str], query: dict[str, str]) -> None:
    answer = await api.client.get("/v1/alerts", params=query, headers=member)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, next(iter(query)))


async def test_a_date_begins_at_midnight_in_the_organizations_timezone(api: Api, ops: dict[str, str]) -> None:
    async def found(**query: str) -> list[str]:
        answer = await api.client.get("/v1/alerts", params=query, headers=ops)
        return [row["alert_id"] for row in answer.json()["items"]]

    async with AsyncSession(api.database) as session, session.begin():
        session.add(alert("late", 11 * 60))  # 23:00 UTC: in Kolkata the day after
    assert await found(since="2026-03-02") == []
    admin = await api.key(Role.ADMIN, "acme")
    body = {"name": "Acme", "timezone": "Asia/Kolkata"}
    assert (await api.client.put("/v1/organization", json=body, headers=admin)).status_code == 200
    assert await found(since="2026-03-02") == ["late"]
    assert "late" not in await found(until="2026-03-02")
    wrong = await api.client.put("/v1/organization", json=body | {"timezone": "Mars/Olympus"}, headers=admin)
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/timezone")


async def test_pages_split_alerts_that_began_at_the_same_instant(api: Api, member: dict[str, str]) -> None:
    found: list[str] = []
    cursor = None
    while cursor or not found:
        query = {"limit": "1", **({"cursor": cursor} if cursor else {})}
        page = (await api.client.get("/v1/alerts", params=query, headers=member)).json()
        found += [row["alert_id"] for row in page["items"]]
        cursor = page["next_cursor"]
    assert found == ["a4", "a3", "a2", "a1"]


async def test_a_timeline_is_in_order_and_of_one_alert(api: Api, member: dict[str, str]) -> None:
    first = (await api.client.get("/v1/alerts/a1/timeline", params={"limit": 1}, headers=member)).json()
    rest = await api.client.get("/v1/alerts/a1/timeline", params={"cursor": first["next_cursor"]}, headers=member)
    assert [row["event"] for row in first["items"]] == ["triggered"]
    assert [row["event"] for row in rest.json()["items"]] == ["second", "sms_sent"]


async def test_a_timeline_has_each_sms_with_its_text_and_says_why_nobody_got_it(
    api: Api, member: dict[str, str]
) -> None:
    async with AsyncSession(api.database) as session, session.begin():
        session.add(
            SmsRequestRow(
                request_id="s2",
                alert_id="a2",
                organization_id="acme",
                user_id="acme/bob",
                requested_at=BEGAN,
                level=2,
                text="Fridge is at 9 C",
                redrives=0,
                payload=b"{}",
            )
        )
        about = {"request_id": "s2", "alert_id": "a2", "user_id": "bob"}
        session.add(decision("rate_limited", 1, until_at=LATER, by_request_id="s1", **about))
        session.add(decision("failed", 2, error_code="40001", error="+12025550123 is a landline", **about))
    shown: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": 1}
    while not shown or query.get("cursor"):
        page = (await api.client.get("/v1/alerts/a2/timeline", params=query, headers=member)).json()
        shown += page["items"]
        query["cursor"] = page["next_cursor"]

    assert [(row["event"], row["user_id"]) for row in shown] == [
        ("sms_requested", "bob"),
        ("of a2", None),
        ("sms_rate_limited", "bob"),
        ("sms_failed", "bob"),
    ]
    assert shown[0]["detail"] == {"request_id": "s2", "level": "2", "text": "Fridge is at 9 C"}
    assert shown[2]["detail"] == {
        "request_id": "s2",
        "attempt": "1",
        "until": "2026-03-01T13:00:00Z",
        "by_request_id": "s1",
    }
    assert shown[3]["detail"]["error"] == "+12*******23 is a landline"
    other = await api.key(Role.ADMIN, "other")
    assert (await api.client.get("/v1/alerts/a2/timeline", headers=other)).status_code == 404


async def test_an_acknowledgement_is_recorded_and_sent_on(api: Api, ops: dict[str, str]) -> None:
    answer = await api.client.post("/v1/alerts/a1/acknowledge", json={"user_id": "ann"}, headers=ops)

    assert (answer.status_code, answer.json()["by"]) == (202, "ann"), answer.text
    shown = (await api.client.get("/v1/alerts/a1", headers=ops)).json()
    assert (shown["acknowledged_by"], shown["acknowledged_via"]) == ("ann", "api")
    assert shown["acknowledged_at"] == answer.json()["at"]
    timeline = (await api.client.get("/v1/alerts/a1/timeline", headers=ops)).json()["items"]
    assert (timeline[-1]["event"], timeline[-1]["user_id"]) == ("acknowledged", "ann")
    [(topic, key, message)] = await api.outbox()
    assert (topic, key) == ("alert-commands", "acme/fridge")
    assert message is not None
    assert (message["type"], message["alert_id"], message["user_id"]) == ("acknowledge", "a1", "acme/ann")


async def test_a_member_acknowledges_in_the_own_name_only(api: Api, member: dict[str, str]) -> None:
    ann = await api.key(Role.MEMBER, "acme", "ann")
    for key, says in ((await api.key(Role.MEMBER, "acme", "bob"), "bob"), (member, "no contact")):
        refused = await api.client.post("/v1/alerts/a1/acknowledge", json={"user_id": "ann"}, headers=key)
        assert (refused.status_code, says in refused.json()["detail"]) == (403, True)
    assert await api.outbox() == []

    accepted = await api.client.post("/v1/alerts/a1/acknowledge", headers=ann)
    again = await api.client.post("/v1/alerts/a1/acknowledge", json={"user_id": "ann"}, headers=ann)
    assert (accepted.json()["by"], again.status_code) == ("ann", 202)


async def test_what_was_done_stands_beside_the_acknowledgement(api: Api, member: dict[str, str]) -> None:
    await api.client.post("/v1/alerts/a1/acknowledge", json={"note": "Moved to fridge 2"}, headers=member)
    shown = (await api.client.get("/v1/alerts/a1", headers=member)).json()
    timeline = (await api.client.get("/v1/alerts/a1/timeline", headers=member)).json()["items"]
    assert shown["acknowledgement_note"] == "Moved to fridge 2"
    assert timeline[-1]["detail"] == {"via": "api", "note": "Moved to fridge 2"}


async def test_without_a_name_the_key_acknowledges(api: Api, member: dict[str, str]) -> None:
    answer = await api.client.post("/v1/alerts/a1/acknowledge", headers=member)
    assert answer.json()["by"] == f"key:{member['Authorization'].split('.')[1]}"


async def test_of_many_who_acknowledge_one_is_first_and_one_order_goes_out(api: Api, member: dict[str, str]) -> None:
    answers = await asyncio.gather(*(api.client.post("/v1/alerts/a1/acknowledge", headers=member) for _ in range(6)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert len(await api.outbox()) == 1


async def test_a_resolved_alert_takes_no_orders(api: Api, member: dict[str, str]) -> None:
    for order, body in (("acknowledge", None), ("notify", None), ("silence", {"minutes": 5})):
        answer = await api.client.post(f"/v1/alerts/a3/{order}", json=body, headers=member)
        assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    assert await api.outbox() == []


async def test_notify_sends_the_order_to_tell_people_now(api: Api, member: dict[str, str]) -> None:
    answer = await api.client.post("/v1/alerts/a2/notify", json={}, headers=member)
    assert answer.status_code == 202
    [(_, _, message)] = await api.outbox()
    assert message is not None
    assert (message["type"], message["alert_id"]) == ("notify_now", "a2")


async def test_nobody_unknown_can_be_named(api: Api, ops: dict[str, str]) -> None:
    answer = await api.client.post("/v1/alerts/a1/acknowledge", json={"user_id": "nobody"}, headers=ops)
    assert answer.status_code == 404
    assert await api.outbox() == []


@pytest.mark.parametrize("how", ["minutes", "until"])
async def test_a_silence_is_recorded_and_sent_on_with_its_end(api: Api, ops: dict[str, str], how: str) -> None:
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=90)
    body = {"user_id": "ann", **({"minutes": 90} if how == "minutes" else {"until": ends.isoformat()})}

    answer = await api.client.post("/v1/alerts/a1/silence", json=body, headers=ops)

    assert (answer.status_code, answer.json()["by"]) == (202, "ann"), answer.text
    until = datetime.fromisoformat(answer.json()["until"])
    assert abs(until - ends) < timedelta(seconds=30)
    [(topic, key, message)] = await api.outbox()
    assert message is not None
    assert (topic, key, message["type"], message["user_id"]) == ("alert-commands", "acme/fridge", "silence", "acme/ann")
    assert message["until_at_ms"] == to_ms(until)
    timeline = (await api.client.get("/v1/alerts/a1/timeline", headers=ops)).json()["items"]
    assert (timeline[-1]["event"], timeline[-1]["user_id"], timeline[-1]["at"]) == (
        "silenced",
        "ann",
        answer.json()["at"],
    )
    assert timeline[-1]["detail"] == {"via": "api", "until_at_ms": str(to_ms(until))}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/"),
        ({"minutes": 5, "until": "2126-03-01T12:00:00Z"}, "/"),
        ({"minutes": 0}, "/minutes"),
        ({"minutes": 43_201}, "/minutes"),
        ({"until": "2026-03-01T12:00:00Z"}, "/until"),
        ({"until": "2126-03-01T12:00:00Z"}, "/until"),
        ({"until": "soon"}, "/until"),
    ],
)
async def test_a_silence_without_a_sensible_end_is_refused(
    api: Api, member: dict[str, str], body: dict[str, Any], pointer: str
) -> None:
    answer = await api.client.post("/v1/alerts/a1/silence", json=body, headers=member)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer), answer.text
    assert await api.outbox() == []
