"""What is older than its table's setting goes, in small batches; the rest stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from database.queues import IdempotencyKeyRow
from database.records import JobFailureRow, UnitAggregateRow
from database.retention import RULES, RetentionSettings, prune

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def bucket(age_days: float) -> UnitAggregateRow:
    return UnitAggregateRow(
        unit_id="fridge",
        starts_at=NOW - age_days * DAY,
        organization_id="acme",
        revision=1,
        count=0,
        sum_c=0,
        above_s=0,
        below_s=0,
        covered_s=0,
        mkt_seconds=0,
        mkt_sum=0,
        excursions=0,
    )


def failure(offset: int, *, settled_days_ago: int | None) -> JobFailureRow:
    return JobFailureRow(
        lane="sms-critical",
        reason="fatal",
        failed_at=NOW - 4_000 * DAY,
        settled_at=None if settled_days_ago is None else NOW - settled_days_ago * DAY,
        source_topic="sms-dlq",
        source_partition=0,
        source_offset=offset,
    )


async def test_old_rows_go_in_more_than_one_batch_and_newer_ones_stay(database: AsyncEngine) -> None:
    async with AsyncSession(database) as session, session.begin():
        session.add_all([bucket(30 + number / 96) for number in range(1, 26)])
        session.add_all([bucket(29), bucket(30)])

    deleted = await prune(database, RetentionSettings(unit_aggregates=30), now=NOW, batch=10)

    assert deleted["unit_aggregates"] == 25
    async with AsyncSession(database) as session:
        kept = list(await session.scalars(select(UnitAggregateRow.starts_at).order_by(UnitAggregateRow.starts_at)))
    assert kept == [NOW - 30 * DAY, NOW - 29 * DAY]


async def test_a_dead_letter_that_nobody_settled_is_kept_for_ever(database: AsyncEngine) -> None:
    async with AsyncSession(database) as session, session.begin():
        session.add_all([failure(1, settled_days_ago=None), failure(2, settled_days_ago=3)])

    deleted = await prune(database, RetentionSettings(job_failures=2), now=NOW)

    assert deleted["job_failures"] == 1
    async with AsyncSession(database) as session:
        assert list(await session.scalars(select(JobFailureRow.source_offset))) == [1]


async def test_zero_days_keep_everything(database: AsyncEngine) -> None:
    async with AsyncSession(database) as session, session.begin():
        session.add(bucket(10_000))
    assert (await prune(database, RetentionSettings(unit_aggregates=0), now=NOW))["unit_aggregates"] == 0


async def test_rows_that_another_transaction_holds_are_left_for_the_next_time(database: AsyncEngine) -> None:
    async with AsyncSession(database) as session, session.begin():
        for number in range(3):
            session.add(
                IdempotencyKeyRow(
                    key_id="key",
                    idempotency_key=str(number),
                    request_sha256=b"",
                    status=201,
                    headers="{}",
                    body=b"",
                    created_at=NOW - 9 * DAY,
                )
            )
    async with AsyncSession(database) as holder, holder.begin():
        await holder.scalars(
            select(IdempotencyKeyRow).where(IdempotencyKeyRow.idempotency_key == "1").with_for_update()
        )
        assert (await prune(database, RetentionSettings(), now=NOW))["idempotency_keys"] == 2
    assert (await prune(database, RetentionSettings(), now=NOW))["idempotency_keys"] == 1


def test_every_setting_has_its_table_and_every_table_its_setting() -> None:
    assert set(RetentionSettings.model_fields) == {rule.table for rule in RULES}
