"""Digests: the application alone says which cadences there are"""

from __future__ import annotations

from alembic import op

revision = "r0020"
down_revision = "r0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_constraint(op.f("ck_digest_preferences_cadences"), "digest_preferences", type_="check")
    op.drop_constraint(op.f("ck_digest_ledger_cadence"), "digest_ledger", type_="check")
    op.drop_constraint(op.f("ck_digest_reports_cadence"), "digest_reports", type_="check")
