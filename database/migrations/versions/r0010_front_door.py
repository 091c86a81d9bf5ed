"""API keys: who made and last used them, whose they are; offline alerts per unit; notes of acknowledgements"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0010"
down_revision = "r0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("user_id", sa.Text(), nullable=True))
    op.add_column("api_keys", sa.Column("created_by", sa.Text(), nullable=True))
    op.add_column("api_keys", sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "units", sa.Column("offline_severity", sa.Text(), server_default=sa.text("'warning'"), nullable=False)
    )
    op.add_column("units", sa.Column("offline_delay_s", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.create_check_constraint("offline_severity", "units", "offline_severity IN ('critical', 'warning', 'info')")
    op.add_column("alerts", sa.Column("acknowledgement_note", sa.Text(), nullable=True))
