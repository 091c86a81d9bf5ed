"""Summaries by HTTP: how far each is, one to be sent now, one to look at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from database.records import DigestLedgerRow, UnitAggregateRow
from schemas.roles import Role
from tests.api.worlds import furnish

if TYPE_CHECKING:
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

DAY = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
async def ops(api: Api) -> dict[str, str]:
    await api.key(Role.OPS, "acme")
    await furnish(api.database)
    return await api.key(Role.OPS, "acme")


def summary(number: int, user_id: str = "ann") -> DigestLedgerRow:
    return DigestLedgerRow(
        digest_id=f"d{number}",
        user_id=f"acme/{user_id}",
        organization_id="acme",
        cadence="daily",
        timezone="Asia/Kolkata",
        period_starts_at=DAY + timedelta(days=number),
        period_ends_at=DAY + timedelta(days=number + 1),
        status="queued",
        progress=80,
        changed_at=DAY + timedelta(days=number + 2),
    )


async def test_how_far_summaries_are_is_told_in_pages_the_newest_first(api: Api, ops: dict[str, str]) -> None:
    async with AsyncSession(api.database) as session, session.begin():
        session.add_all([*map(summary, range(3)), summary(3, "bob")])
    first = (await api.client.get("/v1/digests?limit=2&user_id=ann", headers=ops)).json()
    assert [(one["digest_id"], one["status"], one["progress"]) for one in first["items"]] == [
        ("d2", "queued", 80),
        ("d1", "queued", 80),
    ]
    following = await api.client.get(f"/v1/digests?user_id=ann&cursor={first['next_cursor']}", headers=ops)
    assert [one["digest_id"] for one in following.json()["items"]] == ["d0"]


async def test_a_summary_that_is_asked_for_is_put_on_its_way(api: Api, ops: dict[str, str]) -> None:
    answer = await api.client.post("/v1/digests", json={"user_id": "ann"}, headers=ops | {"Idempotency-Key": "x"})
    again = await api.client.post("/v1/digests", json={"user_id": "ann"}, headers=ops | {"Idempotency-Key": "x"})
    assert answer.status_code == 202, answer.text
    assert again.json() == answer.json()
    [(topic, key, message)] = await api.outbox()
    assert (topic, key) == ("digest-runs", "acme/ann")
    assert message is not None
    assert (message["type"], message["timezone"], message["cadence"]) == ("send_digest_now", "Asia/Kolkata", "daily")
    # A day in Kolkata, which begins at 18:30 UTC.
    assert answer.json()["period_starts_at"].endswith("T18:30:00.000Z")


async def test_who_has_no_preference_is_sent_nothing(api: Api, ops: dict[str, str]) -> None:
    assert (await api.client.post("/v1/digests", json={"user_id": "bob"}, headers=ops)).status_code == 404
    member = await api.key(Role.MEMBER, "acme")
    assert (await api.client.post("/v1/digests", json={"user_id": "ann"}, headers=member)).status_code == 403
    assert await api.outbox() == []


async def test_a_preview_shows_the_mail_and_sends_nothing(api: Api, ops: dict[str, str]) -> None:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    async with AsyncSession(api.database) as session, session.begin():
        session.add(
            UnitAggregateRow(
                unit_id="acme/fridge",
                organization_id="acme",
                starts_at=midnight - timedelta(hours=6),
                revision=1,
                count=1234,
                sum_c=3_702.0,
                min_c=2.0,
                max_c=4.0,
                first_c=3.0,
                last_c=3.0,
                above_s=0.0,
                below_s=0.0,
                covered_s=900.0,
                mkt_seconds=900.0,
                mkt_sum=2e-13,
                excursions=0,
            )
        )
    shown = await api.client.get("/v1/digests/preview?display_unit=F", headers=ops)
    assert shown.status_code == 200, shown.text
    preview = shown.json()
    assert preview["total_readings"] == 1234
    assert preview["complete"] is False
    assert preview["subject"].startswith("Daily Temperature Summary - ")
    assert "1,234" in preview["text"]
    assert "°F" in preview["html"]
    assert "data:image/png;base64," in preview["html"]
    assert "cid:" not in preview["html"]
    assert await api.outbox() == []


async def test_a_weekly_preview_names_its_report(api: Api, ops: dict[str, str]) -> None:
    shown = await api.client.get("/v1/digests/preview?cadence=weekly", headers=ops)
    [report] = shown.json()["attachments"]
    assert report.startswith("compliance-")


async def test_a_preview_for_no_timezone_is_refused(api: Api, ops: dict[str, str]) -> None:
    answer = await api.client.get("/v1/digests/preview?timezone=Mars/Olympus", headers=ops)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "timezone")
