"""Outbox: headers besides the usual, for what a person sends again"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "r0007"
down_revision = "r0006"
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.add_column("outbox", sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
