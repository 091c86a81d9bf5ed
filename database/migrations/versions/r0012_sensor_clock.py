"""Alerts about sensors whose clock is wrong"""

from __future__ import annotations

from alembic import op

revision = "r0012"
down_revision = "r0011"
branch_labels = None
depends_on = None

KINDS = ("temperature_high", "temperature_low", "sensor_offline", "gateway_offline")


def upgrade() -> None:
    _allow((*KINDS, "sensor_clock"))


def downgrade() -> None:
    op.execute("DELETE FROM alerts WHERE kind = 'sensor_clock'")
    _allow(KINDS)


def _allow(kinds: tuple[str, ...]) -> None:
    op.drop_constraint(op.f("ck_alerts_kind"), "alerts", type_="check")
    op.create_check_constraint("kind", "alerts", "kind IN ({})".format(", ".join(f"'{kind}'" for kind in kinds)))
