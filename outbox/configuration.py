"""Configuration as its compacted topics carry it, read from the database."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from sqlalchemy import and_, false, func, or_, select, text

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
from database.declarative import to_ms
from schemas import messages as m

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.ext.asyncio import AsyncSession


# A column with the name of a message's field is that field: a new field is declared in both, and copied by this.
_UNIT_COLUMNS = set(UnitRow.__table__.columns.keys()) & set(m.UnitConfig.__struct_fields__)
_RULE_COLUMNS = set(RuleRow.__table__.columns.keys()) & set(m.Rule.__struct_fields__)


async def organizations(session: AsyncSession, organization_ids: Collection[str]) -> dict[str, m.Organization]:
    """Organizations without their quotas of units and contacts, which only the API checks."""
    rows = await session.execute(
        select(OrganizationRow.__table__).where(OrganizationRow.organization_id.in_(list(organization_ids)))
    )
    return {
        organization.organization_id: m.Organization(
            organization_id=organization.organization_id,
            name=organization.name,
            display_unit=organization.display_unit,
            sms_per_hour=organization.sms_per_hour,
            escalation_wait_s=organization.escalation_wait_s,
            fallback_user_id=organization.fallback_user_id,
        )
        for organization in rows
    }


async def unit_configs(session: AsyncSession, unit_ids: Collection[str]) -> dict[str, m.UnitConfig]:
    """Units with their organization's name, rules, and maintenance that has not been over for a day."""
    wanted = list(unit_ids)
    rules: defaultdict[str, list[m.Rule]] = defaultdict(list)
    rows = await session.execute(
        select(RuleRow.__table__).where(RuleRow.unit_id.in_(wanted)).order_by(RuleRow.unit_id, RuleRow.rule_id)
    )
    for rule in rows:
        rules[rule.unit_id].append(
            m.Rule(
                limit=m.Limit(rule.limit_side),
                severity=m.Severity(rule.severity),
                **{column: getattr(rule, column) for column in _RULE_COLUMNS - {"severity"}},
            )
        )
    windows: defaultdict[str, list[m.MaintenanceWindow]] = defaultdict(list)
    rows = await session.execute(
        select(MaintenanceWindowRow.__table__)
        .where(MaintenanceWindowRow.unit_id.in_(wanted))
        .where(MaintenanceWindowRow.ends_at > func.now() - text("interval '1 day'"))
        .order_by(MaintenanceWindowRow.starts_at, MaintenanceWindowRow.window_id)
    )
    for window in rows:
        windows[window.unit_id].append(m.MaintenanceWindow(to_ms(window.starts_at), to_ms(window.ends_at)))
    rows = await session.execute(
        select(UnitRow.__table__, OrganizationRow.name.label("organization_name"), OrganizationRow.display_unit)
        .join(OrganizationRow, OrganizationRow.organization_id == UnitRow.organization_id)
        .where(UnitRow.unit_id.in_(wanted))
    )
    return {
        unit.unit_id: m.UnitConfig(
            **{column: getattr(unit, column) for column in _UNIT_COLUMNS},
            organization_name=unit.organization_name,
            display_unit=unit.display_unit,
            rules=tuple(rules[unit.unit_id]),
            maintenance=tuple(windows[unit.unit_id]),
        )
        for unit in rows
    }


async def contacts(session: AsyncSession, user_ids: Collection[str]) -> dict[str, m.Contact]:
    """Contacts with their escalation level, the number's opt-out, and the organization's SMS cap."""
    rows = await session.execute(
        select(
            ContactRow.__table__,
            func.coalesce(EscalationStepRow.level, 1).label("level"),
            func.coalesce(
                and_(
                    OptOutRow.opted_out_at.is_not(None),
                    or_(OptOutRow.opted_in_at.is_(None), OptOutRow.opted_out_at > OptOutRow.opted_in_at),
                ),
                false(),
            ).label("opted_out"),
            OrganizationRow.sms_per_hour,
        )
        .join(OrganizationRow, OrganizationRow.organization_id == ContactRow.organization_id)
        .outerjoin(EscalationStepRow, EscalationStepRow.user_id == ContactRow.user_id)
        .outerjoin(
            OptOutRow,
            OptOutRow.phone_e164.in_([ContactRow.phone_e164, func.freshtrack_hashed(ContactRow.phone_e164)]),
        )
        .where(ContactRow.user_id.in_(list(user_ids)))
    )
    return {
        contact.user_id: m.Contact(
            user_id=contact.user_id,
            organization_id=contact.organization_id,
            name=contact.name,
            phone_e164=contact.phone_e164,
            email=contact.email,
            minimum_severity=m.Severity(contact.minimum_severity),
            on_duty=contact.on_duty,
            escalation_level=contact.level,
            sms_opted_out=contact.opted_out,
            organization_sms_per_hour=contact.sms_per_hour,
        )
        for contact in rows
    }


async def digest_preferences(session: AsyncSession, user_ids: Collection[str]) -> dict[str, m.DigestPreference]:
    """Who gets which digest when."""
    rows = await session.execute(
        select(DigestPreferenceRow.__table__).where(DigestPreferenceRow.user_id.in_(list(user_ids)))
    )
    return {
        preference.user_id: m.DigestPreference(
            user_id=preference.user_id,
            organization_id=preference.organization_id,
            cadences=tuple(m.Cadence(cadence) for cadence in preference.cadences),
            timezone=preference.timezone,
            hour=preference.hour,
            hours={m.Cadence(cadence): hour for cadence, hour in preference.hours.items()},
            units={m.Cadence(cadence): tuple(ids) for cadence, ids in preference.units.items()},
            display_unit=preference.display_unit,
            paused=preference.paused,
        )
        for preference in rows
    }
