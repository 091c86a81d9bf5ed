"""Callers: webhook events that were taken, units' device ids, a cap of SMS that is at least 1"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0004"
down_revision = "r0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "webhook_events",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_webhook_events")),
    )
    op.create_index(op.f("ix_webhook_events_received_at"), "webhook_events", ["received_at"], unique=False)
    op.add_column("units", sa.Column("device_id", sa.Text(), nullable=True))
    op.create_unique_constraint(op.f("uq_units_organization_id_device_id"), "units", ["organization_id", "device_id"])
    # 0 was allowed and kept by nothing.
    op.execute("UPDATE organizations SET sms_per_hour = 1 WHERE sms_per_hour < 1")
    op.create_check_constraint(op.f("ck_organizations_sms_per_hour"), "organizations", "sms_per_hour >= 1")
