"""Configuration: organizations, users, units, digests, API keys"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "r0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "opt_outs",
        sa.Column("phone_e164", sa.Text(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("opted_out_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("phone_e164", name=op.f("pk_opt_outs")),
    )
    op.create_table(
        "organizations",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("display_unit", sa.Text(), server_default=sa.text("'C'"), nullable=False),
        sa.Column("max_units", sa.Integer(), nullable=True),
        sa.Column("max_contacts", sa.Integer(), nullable=True),
        sa.Column("sms_per_hour", sa.Integer(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("display_unit IN ('C', 'F')", name=op.f("ck_organizations_display_unit")),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("pk_organizations")),
    )
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("organization_id IS NOT NULL OR role = 'admin'", name=op.f("ck_api_keys_organization")),
        sa.CheckConstraint("role IN ('gateway', 'member', 'ops', 'admin')", name=op.f("ck_api_keys_role")),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.organization_id"],
            name=op.f("fk_api_keys_organization_id_organizations"),
        ),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_api_keys")),
    )
    op.create_index(op.f("ix_api_keys_organization_id_key_id"), "api_keys", ["organization_id", "key_id"], unique=False)
    op.create_table(
        "units",
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("gateway_id", sa.Text(), nullable=True),
        sa.Column("expected_interval_s", sa.Integer(), server_default=sa.text("300"), nullable=False),
        sa.Column("offline_after_missed", sa.Integer(), server_default=sa.text("3"), nullable=False),
        sa.Column("live_window_s", sa.Integer(), server_default=sa.text("900"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.organization_id"], name=op.f("fk_units_organization_id_organizations")
        ),
        sa.PrimaryKeyConstraint("unit_id", name=op.f("pk_units")),
    )
    op.create_index(op.f("ix_units_organization_id_unit_id"), "units", ["organization_id", "unit_id"], unique=False)
    op.create_table(
        "users",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("phone_e164", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("minimum_severity", sa.Text(), server_default=sa.text("'warning'"), nullable=False),
        sa.Column("on_duty", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "minimum_severity IN ('critical', 'warning', 'info')", name=op.f("ck_users_minimum_severity")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.organization_id"], name=op.f("fk_users_organization_id_organizations")
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_users")),
    )
    op.create_index(op.f("ix_users_organization_id_user_id"), "users", ["organization_id", "user_id"], unique=False)
    op.create_index(op.f("ix_users_phone_e164"), "users", ["phone_e164"], unique=False)
    op.create_table(
        "digest_preferences",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("cadences", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=True),
        sa.Column("display_unit", sa.Text(), server_default=sa.text("'C'"), nullable=False),
        sa.Column("paused", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "cadences <@ ARRAY['daily', 'weekly', 'monthly']::text[]", name=op.f("ck_digest_preferences_cadences")
        ),
        sa.CheckConstraint("display_unit IN ('C', 'F')", name=op.f("ck_digest_preferences_display_unit")),
        sa.CheckConstraint("hour BETWEEN 0 AND 23", name=op.f("ck_digest_preferences_hour")),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.organization_id"],
            name=op.f("fk_digest_preferences_organization_id_organizations"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.user_id"], name=op.f("fk_digest_preferences_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_digest_preferences")),
    )
    op.create_index(
        op.f("ix_digest_preferences_organization_id_user_id"),
        "digest_preferences",
        ["organization_id", "user_id"],
        unique=False,
    )
    op.create_table(
        "escalation_steps",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.CheckConstraint("level >= 1", name=op.f("ck_escalation_steps_level")),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.organization_id"],
            name=op.f("fk_escalation_steps_organization_id_organizations"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.user_id"], name=op.f("fk_escalation_steps_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_escalation_steps")),
    )
    op.create_index(
        op.f("ix_escalation_steps_organization_id_level"),
        "escalation_steps",
        ["organization_id", "level"],
        unique=False,
    )
    op.create_table(
        "maintenance_windows",
        sa.Column("window_id", sa.Text(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_maintenance_windows_order")),
        sa.ForeignKeyConstraint(
            ["unit_id"], ["units.unit_id"], name=op.f("fk_maintenance_windows_unit_id_units"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("window_id", name=op.f("pk_maintenance_windows")),
    )
    op.create_index(op.f("ix_maintenance_windows_ends_at"), "maintenance_windows", ["ends_at"], unique=False)
    op.create_index(
        op.f("ix_maintenance_windows_unit_id_ends_at"), "maintenance_windows", ["unit_id", "ends_at"], unique=False
    )
    op.create_table(
        "rules",
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("rule_id", sa.Text(), nullable=False),
        sa.Column("limit_side", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("limit_c", sa.Double(), nullable=False),
        sa.Column("clear_c", sa.Double(), nullable=True),
        sa.Column("confirm_s", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("recover_readings", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint("limit_side IN ('high', 'low')", name=op.f("ck_rules_limit_side")),
        sa.CheckConstraint("severity IN ('critical', 'warning', 'info')", name=op.f("ck_rules_severity")),
        sa.ForeignKeyConstraint(
            ["unit_id"], ["units.unit_id"], name=op.f("fk_rules_unit_id_units"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("unit_id", "rule_id", name=op.f("pk_rules")),
    )
