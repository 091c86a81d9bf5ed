"""Organizations: the timezone in which a date without a time is understood"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0013"
down_revision = "r0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("organizations", sa.Column("timezone", sa.Text(), server_default=sa.text("'UTC'"), nullable=False))
