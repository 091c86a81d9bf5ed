"""Digests on the real broker, PostgreSQL and SMTP: whose units, which days, what a mail must say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

import msgspec
import pytest
from sqlalchemy import text

from domain.digest.schedule import period_before
from schemas import messages as m
from streams.digests.reports import unpacked
from tests.domain.digest.test_numbers import UNIT

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from domain.digest.facts import Digest
    from domain.digest.schedule import Period
    from local.mailbox.client import MailboxProcess
    from local.mailbox.received import Received
    from tests.pipeline.conftest import Space

ALL_ZONES = (
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Pacific/Chatham",
    "Australia/Lord_Howe",
)
# The last day of 23 or 25 hours, one of 23 and a half or 24 and a half, and one of 24 at :45.
ZONES = ("America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")


def environment(mailbox: MailboxProcess, engine: AsyncEngine, **more: str) -> dict[str, str]:
    return {
        "DATABASE_URL": engine.url.render_as_string(hide_password=False),
        "PUBLIC_URL": "https://freshtrack.example.com",
        "UNSUBSCRIBE_SECRET": "a secret of the tests alone",
        "SESSION_TIMEOUT_S": "6",
        "FREEZE_LIMIT_S": "5",
        **mailbox.environment,
        **more,
    }


def unit_of(timezone: str) -> m.UnitConfig:
    name = timezone.partition("/")[2]
    return msgspec.structs.replace(
        UNIT, unit_id=f"unit-{name}", organization_id=f"org-{name}", organization_name=f"Cold & Co {name}"
    )


async def reports(engine: AsyncEngine) -> list[Digest]:
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT content FROM digest_reports ORDER BY organization_id"))
        found = [unpacked(content) for (content,) in rows]
    return [digest for digest in found if digest is not None]


def configure(space: Space, unit: m.UnitConfig, user_id: str) -> None:
    contact = m.Contact(
        user_id=user_id, organization_id=unit.organization_id, name=f"Pat {user_id}", email=f"{user_id}@example.com"
    )
    space.send("contacts", user_id, m.encode(contact))
    space.send("units", unit.unit_id, m.encode(unit))


def ask(space: Space, unit: m.UnitConfig, timezone: str, user_id: str, at: datetime) -> None:
    order = m.SendDigestNow(
        command_id=f"order-{user_id}",
        user_id=user_id,
        organization_id=unit.organization_id,
        cadence=m.Cadence.DAILY,
        timezone=timezone,
        display_unit="F" if timezone.startswith("America") else "C",
        requested_at_ms=int(at.timestamp() * 1000),
    )
    space.send("digest-runs", user_id, m.encode(order))


@cache
def period_of(timezone: str) -> Period:
    """The last day on which the clocks changed; where they never do, a day of the week before."""
    today = datetime.now(UTC).date()
    days = [period_before(m.Cadence.DAILY, timezone, today - timedelta(days=ago)) for ago in range(3, 370)]
    return next((day for day in days if day.length_ms != 24 * 3_600_000), days[4])


def assert_numbers(digest: Digest, expected: dict[str, float]) -> None:
    (unit,) = digest.units
    assert digest.complete
    assert digest.numbers.total_readings == unit.readings == expected["count"]
    assert (unit.min_c, unit.max_c) == (expected["min"], expected["max"])
    assert (unit.above_ms, unit.below_ms, unit.covered_ms) == (
        expected["above"],
        expected["below"],
        expected["covered"],
    )
    assert unit.mean_c == pytest.approx(expected["mean"], abs=1e-6)
    assert unit.mkt_c == pytest.approx(expected["mkt"], abs=1e-6)


def assert_says(mailbox: MailboxProcess, mail: Received, digest: Digest) -> None:
    assert mail.subject == f"Daily Temperature Summary - {digest.organization_name}"
    assert mail.unsubscribe.startswith("https://freshtrack.example.com/unsubscribe/")
    said, html = mailbox.text(mail.number), mailbox.html(mail.number)
    assert f"{digest.numbers.total_readings:,}" in said
    assert f"{digest.numbers.total_readings:,}" in html
    assert "data:image/png;base64," in html
    assert "cid:" not in html
    if digest.period.length_ms != 24 * 3_600_000:
        assert f"this day had {digest.period.length_ms / 3_600_000:g} hours" in said
