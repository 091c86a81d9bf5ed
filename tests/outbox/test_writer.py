"""Rows and messages are committed together, in order, and a deletion is a tombstone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from database.configuration import (
    ContactRow,
    DigestPreferenceRow,
    EscalationStepRow,
    MaintenanceWindowRow,
    OptOutRow,
    OrganizationRow,
    RuleRow,
    UnitRow,
)
from database.queues import OutboxRow
from outbox import writer
from outbox.writer import MessageTooLargeError
from schemas import messages as m
from schemas.topics import ORGANIZATIONS

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)


async def waiting(database: AsyncEngine) -> list[OutboxRow]:
    async with AsyncSession(database) as session:
        return list(await session.scalars(select(OutboxRow).order_by(OutboxRow.sequence)))


async def test_a_unit_is_told_with_its_organization_rules_and_maintenance(
    database: AsyncEngine, organization: str
) -> None:
    async with AsyncSession(database) as session, session.begin():
        session.add(UnitRow(unit_id="fridge", organization_id=organization, name="Fridge 1", gateway_id="g"))
        await session.flush()
        session.add(
            RuleRow(unit_id="fridge", rule_id="high", limit_side="high", severity="critical", limit_c=8, clear_c=7.5)
        )
        for name, ends_at in (("past", NOW - 25 * HOUR), ("next", NOW + HOUR)):
            session.add(
                MaintenanceWindowRow(
                    window_id=name, unit_id="fridge", starts_at=ends_at - HOUR, ends_at=ends_at, reason="defrost"
                )
            )
        await writer.publish_units(session, ["fridge"])

    [row] = await waiting(database)
    assert (row.topic, row.key, row.type) == ("units", "fridge", "unit_config")
    now_ms = round(NOW.timestamp() * 1000)
    assert msgspec.json.decode(row.value or b"", type=m.UnitConfig) == m.UnitConfig(
        unit_id="fridge",
        organization_id="acme",
        organization_name="Acme Foods",
        name="Fridge 1",
        display_unit="F",
        gateway_id="g",
        rules=(
            m.Rule(
                rule_id="high", limit=m.Limit.HIGH, severity=m.Severity.CRITICAL, limit_c=8.0, clear_c=7.5, confirm_s=0
            ),
        ),
        maintenance=(m.MaintenanceWindow(now_ms, now_ms + 3_600_000),),
    )


async def test_an_organization_is_published_with_its_terms_and_deleted_by_a_tombstone(
    database: AsyncEngine, organization: str
) -> None:
    async with AsyncSession(database) as session, session.begin():
        await session.execute(update(OrganizationRow).values(sms_per_hour=40, escalation_wait_s=120))
        await writer.publish_organizations(session, [organization, "gone"])
    present, gone = await waiting(database)
    assert (present.topic, present.key, gone.key, gone.value) == ("organizations", "acme", "gone", None)
    assert ORGANIZATIONS.decode(present.value) == m.Organization(
        organization_id="acme", name="Acme Foods", display_unit="F", sms_per_hour=40, escalation_wait_s=120
    )


async def test_a_contact_is_told_with_the_level_and_an_opt_out_of_the_number(
    database: AsyncEngine, organization: str
) -> None:
    async with AsyncSession(database) as session, session.begin():
        for user, phone in (("ann", "+12025550101"), ("bob", "+12025550102")):
            session.add(ContactRow(user_id=user, organization_id=organization, name=user, phone_e164=phone))
        await session.flush()
        session.add(EscalationStepRow(user_id="bob", organization_id=organization, level=2))
        session.add(OptOutRow(phone_e164="+12025550101", via="sms", opted_out_at=NOW))
        await writer.publish_contacts(session, ["ann", "bob"])

    told = [msgspec.json.decode(row.value or b"", type=m.Contact) for row in await waiting(database)]
    assert [(c.user_id, c.escalation_level, c.sms_opted_out) for c in told] == [("ann", 1, True), ("bob", 2, False)]


async def test_a_digest_preference_is_told_as_it_stands(database: AsyncEngine, organization: str) -> None:
    async with AsyncSession(database) as session, session.begin():
        session.add(ContactRow(user_id="ann", organization_id=organization, name="Ann"))
        await session.flush()
        session.add(
            DigestPreferenceRow(
                user_id="ann", organization_id=organization, cadences=["weekly"], timezone="Asia/Kathmandu", hour=9
            )
        )
        await writer.publish_digest_preferences(session, ["ann"])

    [row] = await waiting(database)
    assert msgspec.json.decode(row.value or b"", type=m.DigestPreference) == m.DigestPreference(
        user_id="ann", organization_id="acme", cadences=(m.Cadence.WEEKLY,), timezone="Asia/Kathmandu", hour=9
    )


async def test_a_deleted_row_becomes_a_tombstone(database: AsyncEngine, organization: str) -> None:
    async with AsyncSession(database) as session, session.begin():
        session.add(UnitRow(unit_id="fridge", organization_id=organization, name="Fridge 1"))
    async with AsyncSession(database) as session, session.begin():
        await session.execute(delete(UnitRow))
        await writer.publish_units(session, ["fridge"])

    [row] = await waiting(database)
    assert (row.topic, row.key, row.type, row.value) == ("units", "fridge", "tombstone", None)


async def test_a_transaction_that_rolls_back_tells_nothing(database: AsyncEngine, organization: str) -> None:
    async with AsyncSession(database) as session:
        session.add(UnitRow(unit_id="fridge", organization_id=organization, name="Fridge 1"))
        await writer.publish_units(session, ["fridge"])
        await session.rollback()

    assert await waiting(database) == []


async def test_writers_of_one_unit_at_once_leave_the_newest_state_last(
    database: AsyncEngine, organization: str
) -> None:
    async with AsyncSession(database) as session, session.begin():
        session.add(UnitRow(unit_id="fridge", organization_id=organization, name="0"))

    async def rename(number: int) -> None:
        async with AsyncSession(database) as session, session.begin():
            await session.execute(update(UnitRow).values(name=str(number), version=UnitRow.version + 1))
            await writer.publish_units(session, ["fridge"])

    async def pause_and_tell() -> None:
        """Changes nothing itself: it must not carry an old name past a newer one."""
        async with AsyncSession(database) as session, session.begin():
            await writer.publish_units(session, ["fridge"])

    await asyncio.gather(*(rename(n) if n % 2 else pause_and_tell() for n in range(40)))

    async with AsyncSession(database) as session:
        final = (await session.scalars(select(UnitRow.name))).one()
    rows = await waiting(database)
    assert len(rows) == 40
    assert msgspec.json.decode(rows[-1].value or b"", type=m.UnitConfig).name == final


async def test_a_configuration_that_the_topic_cannot_take_is_refused(database: AsyncEngine, organization: str) -> None:
    async with AsyncSession(database) as session:
        session.add(UnitRow(unit_id="fridge", organization_id=organization, name="x" * 1_100_000))
        with pytest.raises(MessageTooLargeError, match="units fridge takes"):
            await writer.publish_units(session, ["fridge"])

    assert await waiting(database) == []


async def test_an_order_about_an_alert_goes_under_its_units_key(database: AsyncEngine) -> None:
    order = m.Acknowledge(alert_id="a", unit_id="fridge", organization_id="acme", user_id="ann", at_ms=1)
    async with AsyncSession(database) as session, session.begin():
        await writer.publish_command(session, order)

    [row] = await waiting(database)
    assert (row.topic, row.key, row.type) == ("alert-commands", "fridge", "acknowledge")
    assert msgspec.json.decode(row.value or b"", type=m.Command) == order
