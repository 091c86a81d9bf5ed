"""A small world of the organization acme for tests of the API: something of every kind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy.ext.asyncio import AsyncSession

from database.configuration import (
    ContactRow,
    DigestPreferenceRow,
    EscalationStepRow,
    MaintenanceWindowRow,
    RuleRow,
    UnitRow,
)
from database.notifications import SmsAlertLogRow
from database.records import AlertRow, AlertTimelineRow, JobFailureRow
from schemas.messages import encode
from tests.domain.redrive.letters import letter

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def alert(alert_id: str, minutes: int = 0, **fields: object) -> AlertRow:
    """An alert of acme's fridge that began so many minutes after BEGAN."""
    row = AlertRow(
        alert_id=alert_id,
        unit_id="acme/fridge",
        organization_id="acme",
        rule_id="high",
        kind="temperature_high",
        severity="critical",
        started_at=BEGAN + timedelta(minutes=minutes),
        triggered_at=BEGAN + timedelta(minutes=minutes + 1),
        limit_c=8.0,
        temperature_c=9.5,
    )
    for name, value in fields.items():
        setattr(row, name, value)
    return row


def decision(outcome: str, minutes: int = 0, **fields: object) -> SmsAlertLogRow:
    """A decision about an SMS to ann about a1."""
    row = SmsAlertLogRow(
        request_id="s1",
        alert_id="a1",
        organization_id="acme",
        user_id="acme/ann",
        kind="temperature_high",
        severity="critical",
        outcome=outcome,
        attempt=1,
        at=BEGAN + timedelta(minutes=minutes),
    )
    for name, value in fields.items():
        setattr(row, name, value)
    return row


def failure(offset: int, **fields: object) -> JobFailureRow:
    """A dead letter of acme's critical lane."""
    row = JobFailureRow(
        organization_id="acme",
        lane="sms-critical",
        reason="fatal",
        failed_at=BEGAN,
        source_topic="sms-dlq",
        source_partition=0,
        source_offset=offset,
    )
    for name, value in fields.items():
        setattr(row, name, value)
    return row


async def furnish(database: AsyncEngine, organization: str = "acme", mark: str = "") -> None:
    """A fridge with a rule and a window, ann at level 2 with a digest, the open alert a1, an SMS, a dead letter.

    Ids that an organization chooses are the same in any; `mark` stands in all that only we may choose, and in texts.
    """
    fridge, ann = f"{organization}/fridge", f"{organization}/ann"
    about: dict[str, Any] = {"organization_id": organization}
    async with AsyncSession(database) as session, session.begin():
        session.add(UnitRow(unit_id=fridge, **about, name=f"{mark}Fridge", gateway_id="gw", device_id="dev"))
        phone = "+12025550102" if mark else "+12025550101"
        mail = f"{mark}ann@example.com"
        session.add(ContactRow(user_id=ann, **about, name=f"{mark}Ann", phone_e164=phone, email=mail))
        await session.flush()
        session.add(RuleRow(unit_id=fridge, rule_id="high", limit_side="high", severity="critical", limit_c=8))
        session.add(
            MaintenanceWindowRow(
                window_id=f"w1{mark}",
                unit_id=fridge,
                starts_at=BEGAN,
                ends_at=BEGAN + timedelta(hours=1),
                reason=f"{mark}Defrost",
            )
        )
        session.add(EscalationStepRow(user_id=ann, **about, level=2))
        session.add(DigestPreferenceRow(user_id=ann, **about, cadences=["daily"], timezone="Asia/Kolkata"))
        session.add(alert(f"a1{mark}", unit_id=fridge, **about, acknowledgement_note=f"{mark}note"))
        session.add(
            AlertTimelineRow(
                alert_id=f"a1{mark}", **about, at=BEGAN, event="triggered", detail={"note": mark} if mark else {}
            )
        )
        session.add(decision("sent", request_id=f"s1{mark}", alert_id=f"a1{mark}", user_id=ann, **about))
        request = letter(request_id=f"r1{mark}", alert_id=f"a1{mark}", **about)
        session.add(failure(2 if mark else 1, payload=encode(request), error=f"{mark}error", **about))
