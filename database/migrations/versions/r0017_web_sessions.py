"""Web pages: who is signed in, and links that sign in once"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0017"
down_revision = "r0016"
branch_labels = None
depends_on = None


def _time(name: str, *, nullable: bool = False, default: bool = False) -> sa.Column[object]:
    kind = sa.DateTime(timezone=True)
    return sa.Column(name, kind, nullable=nullable, server_default=sa.text("now()") if default else None)


def upgrade() -> None:
    op.create_table(
        "web_sessions",
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.Text()),
        sa.Column("user_id", sa.Text()),
        sa.Column("organization_id", sa.Text()),
        _time("created_at", default=True),
        _time("seen_at"),
        _time("expires_at"),
        sa.PrimaryKeyConstraint("token_sha256", name="pk_web_sessions"),
        sa.ForeignKeyConstraint(
            ["key_id"], ["api_keys.key_id"], name="fk_web_sessions_key_id_api_keys", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.user_id"], name="fk_web_sessions_user_id_users", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.organization_id"], name="fk_web_sessions_organization_id_organizations"
        ),
    )
    for column in ("expires_at", "key_id", "user_id"):
        op.create_index(f"ix_web_sessions_{column}", "web_sessions", [column])
    op.create_table(
        "sign_in_links",
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        _time("created_at", default=True),
        _time("expires_at"),
        _time("used_at", nullable=True),
        sa.PrimaryKeyConstraint("token_sha256", name="pk_sign_in_links"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.user_id"], name="fk_sign_in_links_user_id_users", ondelete="CASCADE"
        ),
    )
    for column in ("expires_at", "user_id"):
        op.create_index(f"ix_sign_in_links_{column}", "sign_in_links", [column])
