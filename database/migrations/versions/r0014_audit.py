"""The audit trail, its personal values apart, and receipts of erasures"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "r0014"
down_revision = "r0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_trail",
        sa.Column("entry_id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False, index=True
        ),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject_kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(), nullable=True),
        sa.Column("after", postgresql.JSONB(), nullable=True),
    )
    op.create_index("ix_audit_trail_organization_id_entry_id", "audit_trail", ["organization_id", "entry_id"])
    op.create_index("ix_audit_trail_subject_kind_subject_id", "audit_trail", ["subject_kind", "subject_id"])
    op.create_table(
        "audit_personal",
        sa.Column(
            "entry_id",
            sa.BigInteger(),
            sa.ForeignKey("audit_trail.entry_id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("user_id", sa.Text(), nullable=True, index=True),
        sa.Column("before", postgresql.JSONB(), nullable=True),
        sa.Column("after", postgresql.JSONB(), nullable=True),
    )
    op.create_table(
        "erasures",
        sa.Column("receipt_id", sa.Text(), primary_key=True),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("user_sha256", sa.LargeBinary(), nullable=False, index=True),
        sa.Column("pseudonym", sa.Text(), nullable=False),
        sa.Column("erased_by", sa.Text(), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("complete_by_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("counts", postgresql.JSONB(), nullable=False),
    )
    op.create_index(
        "ix_erasures_organization_id_erased_at_receipt_id", "erasures", ["organization_id", "erased_at", "receipt_id"]
    )
