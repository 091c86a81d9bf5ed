"""`unit-aggregates` → `unit_aggregates`: a bucket's newest revision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.topics import UNIT_AGGREGATES
from streams.recorder.rows import Incoming, Instant, SqlRow, columns_of, insert

if TYPE_CHECKING:
    from collections.abc import Sequence


class Bucket(SqlRow, frozen=True, kw_only=True, gc=False):
    unit_id: str
    starts_at: Instant
    organization_id: str
    revision: int
    count: int
    sum_c: float
    min_c: float | None
    max_c: float | None
    first_c: float | None
    last_c: float | None
    above_s: float
    below_s: float
    covered_s: float
    mkt_seconds: float
    mkt_sum: float
    excursions: int
    first_at: Instant | None
    last_at: Instant | None
    high_c: float | None
    low_c: float | None


KEY = ("organization_id", "unit_id", "starts_at")
# An equal revision replaces too: after a crash detection counts again, and its state contains the last result.
BUCKETS = insert(
    Bucket,
    "unit_aggregates",
    newest_of=KEY,
    newest_by="new.revision DESC, new.number DESC",
    on_conflict=(
        "(organization_id, unit_id, starts_at) DO UPDATE SET "
        + ", ".join(
            f"{column.name} = excluded.{column.name}" for column in columns_of(Bucket) if column.name not in KEY
        )
        + " WHERE unit_aggregates.revision <= excluded.revision"
    ),
)


def bucket_rows(record: Incoming) -> Sequence[SqlRow]:
    bucket = UNIT_AGGREGATES.decode(record.value)
    return (
        Bucket(
            unit_id=bucket.unit_id,
            starts_at=bucket.starts_at_ms,
            organization_id=bucket.organization_id,
            revision=bucket.revision,
            count=bucket.count,
            sum_c=bucket.sum_c,
            min_c=bucket.min_c,
            max_c=bucket.max_c,
            first_c=bucket.first_c,
            last_c=bucket.last_c,
            above_s=bucket.above_s,
            below_s=bucket.below_s,
            covered_s=bucket.covered_s,
            mkt_seconds=bucket.mkt_seconds,
            mkt_sum=bucket.mkt_sum,
            excursions=bucket.excursions,
            first_at=bucket.first_at_ms,
            last_at=bucket.last_at_ms,
            high_c=bucket.high_c,
            low_c=bucket.low_c,
        ),
    )
