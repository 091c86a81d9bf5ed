"""Records: alerts, SMS log, failures, aggregates, digests"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "r0002"
down_revision = "r0001"
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "alert_timeline",
        sa.Column("entry_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column(
            "detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("source_topic", sa.Text(), nullable=True),
        sa.Column("source_partition", sa.Integer(), nullable=True),
        sa.Column("source_offset", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_alert_timeline")),
        sa.UniqueConstraint(
            "source_topic",
            "source_partition",
            "source_offset",
            name=op.f("uq_alert_timeline_source_topic_source_partition_source_offset"),
        ),
    )
    op.create_index(
        op.f("ix_alert_timeline_alert_id_at_entry_id"), "alert_timeline", ["alert_id", "at", "entry_id"], unique=False
    )
    op.create_index(op.f("ix_alert_timeline_at"), "alert_timeline", ["at"], unique=False)
    op.create_table(
        "alerts",
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("rule_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("triggered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolved_because", sa.Text(), nullable=True),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("acknowledged_via", sa.Text(), nullable=True),
        sa.Column("paging", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("silent_because", sa.Text(), nullable=True),
        sa.Column("temperature_c", sa.Double(), nullable=True),
        sa.Column("limit_c", sa.Double(), nullable=True),
        sa.Column("extreme_c", sa.Double(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('temperature_high', 'temperature_low', 'sensor_offline', 'gateway_offline')",
            name=op.f("ck_alerts_kind"),
        ),
        sa.CheckConstraint("severity IN ('critical', 'warning', 'info')", name=op.f("ck_alerts_severity")),
        sa.PrimaryKeyConstraint("alert_id", name=op.f("pk_alerts")),
    )
    op.create_index(
        "ix_alerts_open",
        "alerts",
        ["organization_id", "started_at"],
        unique=False,
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.create_index(
        op.f("ix_alerts_organization_id_started_at_alert_id"),
        "alerts",
        ["organization_id", "started_at", "alert_id"],
        unique=False,
    )
    op.create_index(op.f("ix_alerts_started_at"), "alerts", ["started_at"], unique=False)
    op.create_index(op.f("ix_alerts_unit_id_started_at"), "alerts", ["unit_id", "started_at"], unique=False)
    op.create_table(
        "digest_ledger",
        sa.Column("digest_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("cadence", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("period_starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("period_ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("progress", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("cadence IN ('daily', 'weekly', 'monthly')", name=op.f("ck_digest_ledger_cadence")),
        sa.CheckConstraint("progress BETWEEN 0 AND 100", name=op.f("ck_digest_ledger_progress")),
        sa.PrimaryKeyConstraint("digest_id", name=op.f("pk_digest_ledger")),
        sa.UniqueConstraint(
            "user_id", "cadence", "period_starts_at", name=op.f("uq_digest_ledger_user_id_cadence_period_starts_at")
        ),
    )
    op.create_index(
        op.f("ix_digest_ledger_organization_id_period_starts_at_digest_id"),
        "digest_ledger",
        ["organization_id", "period_starts_at", "digest_id"],
        unique=False,
    )
    op.create_index(op.f("ix_digest_ledger_period_starts_at"), "digest_ledger", ["period_starts_at"], unique=False)
    op.create_table(
        "job_failures",
        sa.Column("failure_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("redrives", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_by", sa.Text(), nullable=True),
        sa.Column("source_topic", sa.Text(), nullable=False),
        sa.Column("source_partition", sa.Integer(), nullable=False),
        sa.Column("source_offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("failure_id", name=op.f("pk_job_failures")),
        sa.UniqueConstraint(
            "source_topic",
            "source_partition",
            "source_offset",
            name=op.f("uq_job_failures_source_topic_source_partition_source_offset"),
        ),
    )
    op.create_index(
        "ix_job_failures_open",
        "job_failures",
        ["organization_id", "failed_at"],
        unique=False,
        postgresql_where=sa.text("settled_at IS NULL"),
    )
    op.create_index(
        op.f("ix_job_failures_organization_id_failed_at_failure_id"),
        "job_failures",
        ["organization_id", "failed_at", "failure_id"],
        unique=False,
    )
    op.create_index(op.f("ix_job_failures_request_id"), "job_failures", ["request_id"], unique=False)
    op.create_index(op.f("ix_job_failures_settled_at"), "job_failures", ["settled_at"], unique=False)
    op.create_table(
        "sms_alert_log",
        sa.Column("entry_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempt_id", sa.Text(), nullable=True),
        sa.Column("provider_message_id", sa.Text(), nullable=True),
        sa.Column("parts", sa.Integer(), nullable=True),
        sa.Column("latency_ms", sa.BigInteger(), nullable=True),
        sa.Column("until_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("by_request_id", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("source_topic", sa.Text(), nullable=True),
        sa.Column("source_partition", sa.Integer(), nullable=True),
        sa.Column("source_offset", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_sms_alert_log")),
        sa.UniqueConstraint(
            "source_topic",
            "source_partition",
            "source_offset",
            name=op.f("uq_sms_alert_log_source_topic_source_partition_source_offset"),
        ),
    )
    op.create_index(
        op.f("ix_sms_alert_log_alert_id_user_id_at"), "sms_alert_log", ["alert_id", "user_id", "at"], unique=False
    )
    op.create_index(op.f("ix_sms_alert_log_at"), "sms_alert_log", ["at"], unique=False)
    op.create_index(
        op.f("ix_sms_alert_log_organization_id_at_entry_id"),
        "sms_alert_log",
        ["organization_id", "at", "entry_id"],
        unique=False,
    )
    op.create_index(op.f("ix_sms_alert_log_request_id"), "sms_alert_log", ["request_id"], unique=False)
    op.create_table(
        "unit_aggregates",
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("sum_c", sa.Double(), nullable=False),
        sa.Column("min_c", sa.Double(), nullable=True),
        sa.Column("max_c", sa.Double(), nullable=True),
        sa.Column("first_c", sa.Double(), nullable=True),
        sa.Column("last_c", sa.Double(), nullable=True),
        sa.Column("above_s", sa.Double(), nullable=False),
        sa.Column("below_s", sa.Double(), nullable=False),
        sa.Column("covered_s", sa.Double(), nullable=False),
        sa.Column("mkt_seconds", sa.Double(), nullable=False),
        sa.Column("mkt_sum", sa.Double(), nullable=False),
        sa.Column("excursions", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("unit_id", "starts_at", name=op.f("pk_unit_aggregates")),
    )
    op.create_index(
        op.f("ix_unit_aggregates_organization_id_starts_at"),
        "unit_aggregates",
        ["organization_id", "starts_at"],
        unique=False,
    )
    op.create_index(op.f("ix_unit_aggregates_starts_at"), "unit_aggregates", ["starts_at"], unique=False)
