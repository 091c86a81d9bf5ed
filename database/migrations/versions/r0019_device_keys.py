"""API keys of single devices; the readings a second that an organization may send"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0019"
down_revision = "r0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("gateway_id", sa.Text()))
    op.add_column("api_keys", sa.Column("unit_id", sa.Text()))
    op.create_check_constraint("device", "api_keys", "num_nonnulls(gateway_id, unit_id) = 0 OR role = 'gateway'")
    op.add_column("organizations", sa.Column("readings_per_s", sa.Integer()))
    op.create_check_constraint("readings_per_s", "organizations", "readings_per_s >= 1")
