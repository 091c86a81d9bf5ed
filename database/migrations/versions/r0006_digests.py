"""Digests: the numbers of each job, its letters, and how far each user's summary is"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0006"
down_revision = "r0005"
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "digest_reports",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("cadence", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("period_starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("period_ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("asked_for", sa.Boolean(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("recorded_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("cadence IN ('daily', 'weekly', 'monthly')", name=op.f("ck_digest_reports_cadence")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_digest_reports")),
    )
    op.create_index(
        op.f("ix_digest_reports_organization_id_cadence_timezone_period_starts_at"),
        "digest_reports",
        ["organization_id", "cadence", "timezone", "period_starts_at"],
        unique=False,
    )
    op.create_index(op.f("ix_digest_reports_period_starts_at"), "digest_reports", ["period_starts_at"], unique=False)
    op.create_table(
        "digest_letters",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("display_unit", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "display_unit", name=op.f("pk_digest_letters")),
    )
    op.create_index(op.f("ix_digest_letters_created_at"), "digest_letters", ["created_at"], unique=False)
    op.drop_constraint(op.f("uq_digest_ledger_user_id_cadence_period_starts_at"), "digest_ledger", type_="unique")
    op.create_index(
        op.f("ix_digest_ledger_user_id_cadence_period_starts_at"),
        "digest_ledger",
        ["user_id", "cadence", "period_starts_at"],
        unique=False,
    )
    op.drop_column("digest_ledger", "revision")
    op.add_column(
        "digest_ledger", sa.Column("asked_for", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column(
        "digest_ledger",
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    op.alter_column("digest_ledger", "changed_at", server_default=None)
