"""Opt-outs: when a number opted in again, so that a late START or STOP finds its place"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0016"
down_revision = "r0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("opt_outs", sa.Column("opted_in_at", sa.DateTime(timezone=True)))
    op.alter_column("opt_outs", "opted_out_at", nullable=True)
