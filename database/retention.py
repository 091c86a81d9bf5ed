"""How long each table keeps its rows, and their deletion in small batches."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import text

from database.audit_functions import KEPT_DAYS

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncEngine

Days = Annotated[int, Field(ge=0, description="0 keeps for ever")]


def _a_year_at_least(days: int) -> int:
    if 0 < days < KEPT_DAYS:
        raise ValueError(f"the audit trail is kept {KEPT_DAYS} days at least; 0 keeps it for ever")
    return days


class RetentionSettings(BaseSettings):
    """Days, each in the variable `RETENTION_` and its name; 0 keeps for ever.

    Dead letters that nobody settled are always kept.
    """

    model_config = SettingsConfigDict(env_prefix="RETENTION_", frozen=True, extra="ignore")

    alerts: Days = 1_095
    alert_timeline: Days = 1_095
    sms_alert_log: Days = 1_095
    sms_requests: Days = 1_095
    email_log: Days = 1_095
    job_failures: Days = 365
    unit_aggregates: Days = 1_095
    digest_ledger: Days = 1_095
    digest_reports: Days = 1_095
    digest_letters: Days = 40
    maintenance_windows: Days = 365
    idempotency_keys: Days = 2
    webhook_events: Days = 7
    audit_trail: Annotated[Days, AfterValidator(_a_year_at_least)] = 400


class Rule(NamedTuple):
    """The column of a table that a row's age is counted from (it must have an index), and which rows may go."""

    table: str
    since: str
    only: str = "true"


RULES = (
    Rule("alerts", "started_at", "resolved_at IS NOT NULL"),
    Rule("alert_timeline", "at"),
    Rule("sms_alert_log", "at"),
    Rule("sms_requests", "requested_at"),
    Rule("email_log", "at"),
    Rule("job_failures", "settled_at"),
    Rule("unit_aggregates", "starts_at"),
    Rule("digest_ledger", "period_starts_at"),
    Rule("digest_reports", "period_starts_at"),
    Rule("digest_letters", "created_at"),
    Rule("maintenance_windows", "ends_at"),
    Rule("idempotency_keys", "created_at"),
    Rule("webhook_events", "received_at"),
    Rule("audit_trail", "at"),
)


async def prune(
    engine: AsyncEngine, settings: RetentionSettings, *, now: datetime, batch: int = 1_000
) -> dict[str, int]:
    """Delete rows that are older than their table's setting; returns how many by table.

    Each batch has its own transaction, so that no lock is held long; rows that another process holds are skipped.
    """
    deleted = {}
    for rule in RULES:
        days: int = getattr(settings, rule.table)
        deleted[rule.table] = await _prune(engine, rule, now - timedelta(days=days), batch) if days else 0
    return deleted


# The audit trail names who deleted what people had configured.
_AS_RETENTION = text("SELECT set_config('freshtrack.actor', 'retention', true)")


async def _prune(engine: AsyncEngine, rule: Rule, before: datetime, batch: int) -> int:
    statement = text(
        f"DELETE FROM {rule.table} WHERE ctid = ANY(ARRAY("  # noqa: S608 - constant names, no input
        f"SELECT ctid FROM {rule.table} WHERE {rule.since} < :before AND {rule.only} LIMIT :batch"
        " FOR UPDATE SKIP LOCKED))"
    )
    total = 0
    while True:
        async with engine.begin() as connection:
            await connection.execute(_AS_RETENTION)
            gone = (await connection.execute(statement, {"before": before, "batch": batch})).rowcount
        total += gone
        if gone < batch:
            return total
