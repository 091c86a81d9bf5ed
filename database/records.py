"""What happened: alerts and their timeline, failures, aggregates, digests.

The recorder writes these from the outcome topics. They name units and users without foreign keys, because history
outlives what it speaks of.
"""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from database.declarative import CreatedAt, Row, one_of
from schemas.messages import SEVERITIES, AlertKind


class AlertRow(Row):
    """One alert's present state; firing until `resolved_at` is set."""

    __tablename__ = "alerts"
    __table_args__ = (
        one_of("kind", AlertKind),
        one_of("severity", SEVERITIES),
        Index(None, "organization_id", "started_at", "alert_id"),
        Index(None, "unit_id", "started_at"),
        Index("ix_alerts_open", "organization_id", "started_at", postgresql_where=text("resolved_at IS NULL")),
    )

    alert_id: Mapped[str] = mapped_column(primary_key=True)
    unit_id: Mapped[str]
    organization_id: Mapped[str]
    rule_id: Mapped[str]
    kind: Mapped[str]
    severity: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(index=True)
    triggered_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
    resolved_because: Mapped[str | None]
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None]
    acknowledged_via: Mapped[str | None]
    acknowledgement_note: Mapped[str | None]
    paging: Mapped[bool] = mapped_column(server_default=text("true"))
    silent_because: Mapped[str | None]
    temperature_c: Mapped[float | None]
    limit_c: Mapped[float | None]
    extreme_c: Mapped[float | None]


class AlertTimelineRow(Row):
    """One step of an alert: triggered, severity_escalated, acknowledged, notify_now, silenced, resolved, and those of
    its escalation: escalation_stepped, escalation_ended.

    `source_*` are the coordinates of the Kafka record, or null if the API wrote a person's command.
    `message_id` is the record's type and id: an event that a worker published twice, around a crash, is one step.
    """

    __tablename__ = "alert_timeline"
    __table_args__ = (
        UniqueConstraint("source_topic", "source_partition", "source_offset"),
        UniqueConstraint("source_topic", "message_id"),
        Index(None, "alert_id", "at", "entry_id"),
    )

    entry_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    alert_id: Mapped[str]
    organization_id: Mapped[str]
    at: Mapped[datetime] = mapped_column(index=True)
    event: Mapped[str]
    user_id: Mapped[str | None]
    detail: Mapped[dict[str, str]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    message_id: Mapped[str | None]
    source_topic: Mapped[str | None]
    source_partition: Mapped[int | None]
    source_offset: Mapped[int | None] = mapped_column(BigInteger)


class JobFailureRow(Row):
    """A dead letter, or a record that this database refused; kept for ever unless a person settles it.

    `payload` is the dead letter as it came, so that it can be sent again; it has no phone number. It is of one of the
    types that the dead-letter topics carry, even if the record itself could not be read.
    """

    __tablename__ = "job_failures"
    __table_args__ = (
        UniqueConstraint("source_topic", "source_partition", "source_offset"),
        UniqueConstraint("source_topic", "message_id"),
        Index(None, "organization_id", "failed_at", "failure_id"),
        Index("ix_job_failures_open", "organization_id", "failed_at", postgresql_where=text("settled_at IS NULL")),
    )

    failure_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    organization_id: Mapped[str | None]
    user_id: Mapped[str | None]
    request_id: Mapped[str | None] = mapped_column(index=True)
    lane: Mapped[str]
    reason: Mapped[str]
    error_code: Mapped[str | None]
    error: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    redrives: Mapped[int] = mapped_column(server_default=text("0"))
    payload: Mapped[bytes | None]
    failed_at: Mapped[datetime]
    settled_at: Mapped[datetime | None] = mapped_column(index=True)
    settled_by: Mapped[str | None]
    message_id: Mapped[str | None]
    source_topic: Mapped[str]
    source_partition: Mapped[int]
    source_offset: Mapped[int] = mapped_column(BigInteger)


class UnitAggregateRow(Row):
    """A unit's 15-minute bucket; fields as in `schemas.messages.AggregateBucket`. The newest revision is kept.

    A unit id that another organization takes over begins with buckets of its own.
    """

    __tablename__ = "unit_aggregates"
    __table_args__ = (Index(None, "organization_id", "starts_at"),)

    organization_id: Mapped[str] = mapped_column(primary_key=True)
    unit_id: Mapped[str] = mapped_column(primary_key=True)
    starts_at: Mapped[datetime] = mapped_column(primary_key=True, index=True)
    revision: Mapped[int]
    count: Mapped[int]
    sum_c: Mapped[float]
    min_c: Mapped[float | None]
    max_c: Mapped[float | None]
    first_c: Mapped[float | None]
    last_c: Mapped[float | None]
    above_s: Mapped[float]
    below_s: Mapped[float]
    covered_s: Mapped[float]
    mkt_seconds: Mapped[float]
    mkt_sum: Mapped[float]
    excursions: Mapped[int]
    first_at: Mapped[datetime | None]
    last_at: Mapped[datetime | None]
    high_c: Mapped[float | None]
    low_c: Mapped[float | None]


class DigestLedgerRow(Row):
    """The progress of one user's digest of one period. Regular digests come once a period, others on request."""

    __tablename__ = "digest_ledger"
    __table_args__ = (
        Index(None, "user_id", "cadence", "period_starts_at"),
        CheckConstraint("progress BETWEEN 0 AND 100", name="progress"),
        Index(None, "organization_id", "period_starts_at", "digest_id"),
    )

    digest_id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str]
    organization_id: Mapped[str]
    cadence: Mapped[str]
    timezone: Mapped[str]
    period_starts_at: Mapped[datetime] = mapped_column(index=True)
    period_ends_at: Mapped[datetime]
    status: Mapped[str]
    progress: Mapped[int] = mapped_column(server_default=text("0"))
    asked_for: Mapped[bool] = mapped_column(server_default=text("false"))
    changed_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    error: Mapped[str | None]
    created_at: Mapped[CreatedAt]
