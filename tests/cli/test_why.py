"""`why ALERT`: each SMS and its fate, and for everybody else the reason."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession
from typer.testing import CliRunner

from cli.__main__ import app
from cli.why import event_line, not_asked
from database.configuration import ContactRow
from schemas.roles import Role
from tests.api.test_sms_rerun import record
from tests.api.worlds import BEGAN, decision, furnish
from tests.cli.served_api import app_of, serving

if TYPE_CHECKING:
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


def contact(**fields: Any) -> dict[str, Any]:
    known = {
        "user_id": "ann",
        "phone_e164": "+1202•••0101",
        "sms_opted_out": False,
        "on_duty": True,
        "minimum_severity": "warning",
        "escalation_level": 1,
    }
    return known | fields


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"phone_e164": None, "on_duty": False}, "has no phone number"),
        ({"sms_opted_out": True}, "the number opted out of SMS"),
        ({"on_duty": False}, "is off duty now"),
        ({"minimum_severity": "critical"}, "wants SMS from critical on"),
        ({"escalation_level": 3}, "is at level 3, the escalation came to 2"),
        ({}, "nothing in the present configuration explains it: it may have changed since"),
    ],
)
def test_whoever_got_no_sms_is_named_with_the_reason(fields: dict[str, Any], reason: str) -> None:
    alert = {"severity": "warning"}
    others = [contact(user_id="asked"), contact(**fields)]
    assert list(not_asked(alert, others, {"asked"}, level=2)) == [("ann", reason)]


def test_a_step_names_whom_it_passed_over_with_the_recorded_reason() -> None:
    detail = {"level": "1", "users": "ann", "not_asked": "eve (off_duty), joe (later_level)"}
    line = event_line({"event": "escalation_stepped", "user_id": None, "detail": detail})
    assert line == "escalation_stepped: level 1, users ann; not asked: eve (off duty), joe (later level)"


async def test_an_alert_is_explained_by_its_sms_and_by_the_people_who_got_none(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await furnish(api.database)
    await record(api, "s7", user_id="bob")
    async with AsyncSession(api.database) as session, session.begin():
        await session.execute(update(ContactRow).values(on_duty=False))
        limited = {"request_id": "s7", "user_id": "bob", "by_request_id": "s1"}
        session.add(decision("rate_limited", 1, until_at=BEGAN + timedelta(minutes=15), **limited))
    headers = await api.key(Role.MEMBER, "acme")
    monkeypatch.setenv("FRESHTRACK_API_KEY", headers["Authorization"].removeprefix("Bearer "))
    with serving(app_of(api), headers) as client:
        done = CliRunner().invoke(app, ["why", "a1", "--url", str(client.base_url)], catch_exceptions=False)
        unknown = CliRunner().invoke(app, ["why", "a9", "--url", str(client.base_url)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "temperature_high of fridge, critical" in done.output
    assert "sms_rate_limited bob: not before 2026-03-01T12:15:00Z, because of the SMS s1" in done.output
    assert "sms_requested bob: " in done.output
    assert "text Fridge is at 9 C" in done.output
    assert "ann: no SMS; is off duty now" in done.output
    assert (unknown.exit_code, "There is no alert a9" in unknown.output) == (1, True)
