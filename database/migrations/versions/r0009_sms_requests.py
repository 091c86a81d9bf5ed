"""SMS requests, the e-mail log, and aggregates keyed by organization"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0009"
down_revision = "r0008"
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.drop_constraint("pk_unit_aggregates", "unit_aggregates")
    op.create_primary_key("pk_unit_aggregates", "unit_aggregates", ["organization_id", "unit_id", "starts_at"])
    op.create_table(
        "sms_requests",
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("redrives", sa.Integer(), nullable=False),
        sa.Column("rerun_after", sa.BigInteger(), nullable=True),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_sms_requests")),
    )
    op.create_index(op.f("ix_sms_requests_alert_id"), "sms_requests", ["alert_id"])
    op.create_index(op.f("ix_sms_requests_requested_at"), "sms_requests", ["requested_at"])
    op.create_table(
        "email_log",
        sa.Column("entry_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("cadence", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("provider_message_id", sa.Text(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("source_topic", sa.Text(), nullable=False),
        sa.Column("source_partition", sa.Integer(), nullable=False),
        sa.Column("source_offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_email_log")),
        sa.UniqueConstraint(
            "source_topic",
            "source_partition",
            "source_offset",
            name="uq_email_log_source_topic_source_partition_source_offset",
        ),
    )
    op.create_index(op.f("ix_email_log_at"), "email_log", ["at"])
    op.create_index(
        op.f("ix_email_log_organization_id_at_entry_id"), "email_log", ["organization_id", "at", "entry_id"]
    )
    op.create_index(op.f("ix_email_log_request_id"), "email_log", ["request_id"])
