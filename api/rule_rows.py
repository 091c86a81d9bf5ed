"""Rules between SQL and HTTP; in SQL the field `limit` is `limit_side`, because `limit` is a word of SQL."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from database.configuration import RuleRow
from schemas.http.units import RuleBody, RuleView


def _column(field: str) -> str:
    return "limit_side" if field == "limit" else field


def _values(unit_id: str, rule_id: str, body: RuleBody) -> dict[str, Any]:
    fields = {_column(name): getattr(body, name) for name in RuleBody.model_fields}
    return fields | {"unit_id": unit_id, "rule_id": rule_id}


async def rules_of(session: AsyncSession, unit_ids: Collection[str]) -> dict[str, list[RuleView]]:
    """The rules of each unit, in the order of their ids."""
    rules: dict[str, list[RuleView]] = {unit_id: [] for unit_id in unit_ids}
    wanted = select(RuleRow).where(RuleRow.unit_id.in_(rules)).order_by(RuleRow.unit_id, RuleRow.rule_id)
    for row in await session.scalars(wanted):
        fields = {name: getattr(row, _column(name)) for name in RuleView.model_fields}
        rules[row.unit_id].append(RuleView.model_validate(fields))
    return rules


async def replace_rules(session: AsyncSession, unit_id: str, rules: Collection[RuleView]) -> None:
    """Give the unit exactly these rules; one that stays as it is counts as no change in the audit trail."""
    kept = [rule.rule_id for rule in rules]
    await session.execute(delete(RuleRow).where(RuleRow.unit_id == unit_id, RuleRow.rule_id.not_in(kept)))
    for rule in rules:
        await _put(session, unit_id, rule.rule_id, rule)


async def put_rule_row(session: AsyncSession, unit_id: str, rule_id: str, body: RuleBody) -> int:
    """Add or replace one rule; returns how many the unit has then."""
    await _put(session, unit_id, rule_id, body)
    return (await session.execute(select(func.count()).where(RuleRow.unit_id == unit_id))).scalar_one()


async def _put(session: AsyncSession, unit_id: str, rule_id: str, body: RuleBody) -> None:
    values = _values(unit_id, rule_id, body)
    keys = ["unit_id", "rule_id"]
    await session.execute(insert(RuleRow).values(values).on_conflict_do_update(index_elements=keys, set_=values))


async def delete_rule_row(session: AsyncSession, unit_id: str, rule_id: str) -> bool:
    """Whether there was such a rule."""
    gone = delete(RuleRow).where(RuleRow.unit_id == unit_id, RuleRow.rule_id == rule_id).returning(RuleRow.rule_id)
    return (await session.execute(gone)).first() is not None
