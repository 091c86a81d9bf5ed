"""Recorder: ids of messages, what buckets know besides, until when a topic is recorded"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0005"
down_revision = "r0004"
branch_labels = None
depends_on = None

IDENTIFIED = ("alert_timeline", "job_failures")


def upgrade() -> None:

    for table in IDENTIFIED:
        op.add_column(table, sa.Column("message_id", sa.Text(), nullable=True))
        op.create_unique_constraint(op.f(f"uq_{table}_source_topic_message_id"), table, ["source_topic", "message_id"])
    for instant in ("first_at", "last_at"):
        op.add_column("unit_aggregates", sa.Column(instant, sa.DateTime(timezone=True), nullable=True))
    for limit in ("high_c", "low_c"):
        op.add_column("unit_aggregates", sa.Column(limit, sa.Double(), nullable=True))
    op.create_table(
        "recorder_watermarks",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("recorded_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", name=op.f("pk_recorder_watermarks")),
    )
