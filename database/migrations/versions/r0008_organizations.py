"""Organizations: how long the escalation waits"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0008"
down_revision = "r0007"
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.add_column("organizations", sa.Column("escalation_wait_s", sa.Integer(), nullable=True))
    op.create_check_constraint("escalation_wait_s", "organizations", "escalation_wait_s >= 1")
