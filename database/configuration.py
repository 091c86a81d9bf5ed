"""What people set: organizations, contacts, units with their rules, escalation, digests, API keys.

Ids of units and users are qualified, as in `schemas.identity`.
"""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Text

from database.declarative import CreatedAt, Row, Version, one_of
from schemas.messages import SEVERITIES, Limit
from schemas.roles import Role

DISPLAY_UNITS = ("C", "F")


class OrganizationRow(Row):
    """A customer. Limits are null where none applies."""

    __tablename__ = "organizations"
    __table_args__ = (
        one_of("display_unit", DISPLAY_UNITS),
        CheckConstraint("sms_per_hour >= 1", name="sms_per_hour"),
        CheckConstraint("readings_per_s >= 1", name="readings_per_s"),
        CheckConstraint("escalation_wait_s >= 1", name="escalation_wait_s"),
    )

    organization_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    display_unit: Mapped[str] = mapped_column(server_default=text("'C'"))
    timezone: Mapped[str] = mapped_column(server_default=text("'UTC'"))
    max_units: Mapped[int | None]
    max_contacts: Mapped[int | None]
    sms_per_hour: Mapped[int | None]
    readings_per_s: Mapped[int | None]
    escalation_wait_s: Mapped[int | None]
    fallback_user_id: Mapped[str | None]
    version: Mapped[Version]
    created_at: Mapped[CreatedAt]


class ContactRow(Row):
    """A user who is notified of alerts; named users because digests and acknowledgements refer to them too."""

    __tablename__ = "users"
    __table_args__ = (one_of("minimum_severity", SEVERITIES), Index(None, "organization_id", "user_id"))

    user_id: Mapped[str] = mapped_column(primary_key=True)
    organization_id: Mapped[str] = mapped_column(ForeignKey(OrganizationRow.organization_id))
    name: Mapped[str]
    phone_e164: Mapped[str | None] = mapped_column(index=True)
    email: Mapped[str | None]
    minimum_severity: Mapped[str] = mapped_column(server_default=text("'warning'"))
    on_duty: Mapped[bool] = mapped_column(server_default=text("true"))
    version: Mapped[Version]
    created_at: Mapped[CreatedAt]


class EscalationStepRow(Row):
    """A user's place in the organization's chain; without one, level 1."""

    __tablename__ = "escalation_steps"
    __table_args__ = (CheckConstraint("level >= 1", name="level"), Index(None, "organization_id", "level"))

    user_id: Mapped[str] = mapped_column(ForeignKey(ContactRow.user_id, ondelete="CASCADE"), primary_key=True)
    organization_id: Mapped[str] = mapped_column(ForeignKey(OrganizationRow.organization_id))
    level: Mapped[int]


class OptOutRow(Row):
    """A number whose owner answered STOP. It outlives the contact: whoever adds the number again must not text it.

    After the owner's erasure only the digest of the number is here (`freshtrack_hashed`).
    Opted out is what answered STOP after its newest START; the times are the provider's.
    """

    __tablename__ = "opt_outs"

    phone_e164: Mapped[str] = mapped_column(primary_key=True)
    via: Mapped[str]
    opted_out_at: Mapped[datetime | None]
    opted_in_at: Mapped[datetime | None]


class UnitRow(Row):
    """A fridge, freezer or truck. `device_id` is the sensor's name in its vendor's network, where that is another."""

    __tablename__ = "units"
    __table_args__ = (
        Index(None, "organization_id", "unit_id"),
        UniqueConstraint("organization_id", "device_id"),
        one_of("offline_severity", SEVERITIES),
    )

    unit_id: Mapped[str] = mapped_column(primary_key=True)
    organization_id: Mapped[str] = mapped_column(ForeignKey(OrganizationRow.organization_id))
    name: Mapped[str]
    gateway_id: Mapped[str | None]
    device_id: Mapped[str | None]
    expected_interval_s: Mapped[int] = mapped_column(server_default=text("300"))
    offline_after_missed: Mapped[int] = mapped_column(server_default=text("3"))
    offline_delay_s: Mapped[int] = mapped_column(server_default=text("0"))
    offline_severity: Mapped[str] = mapped_column(server_default=text("'warning'"))
    live_window_s: Mapped[int] = mapped_column(server_default=text("900"))
    version: Mapped[Version]
    created_at: Mapped[CreatedAt]


class RuleRow(Row):
    """One threshold of a unit; `limit_side` is high or low (`limit` is a word of SQL)."""

    __tablename__ = "rules"
    __table_args__ = (one_of("limit_side", Limit), one_of("severity", SEVERITIES))

    unit_id: Mapped[str] = mapped_column(ForeignKey(UnitRow.unit_id, ondelete="CASCADE"), primary_key=True)
    rule_id: Mapped[str] = mapped_column(primary_key=True)
    limit_side: Mapped[str]
    severity: Mapped[str]
    limit_c: Mapped[float]
    clear_c: Mapped[float | None]
    confirm_s: Mapped[int] = mapped_column(server_default=text("0"))
    recover_readings: Mapped[int] = mapped_column(server_default=text("1"))


class MaintenanceWindowRow(Row):
    """Defrost or cleaning: paging is silent from the start to just before the end."""

    __tablename__ = "maintenance_windows"
    __table_args__ = (CheckConstraint("ends_at > starts_at", name="order"), Index(None, "unit_id", "ends_at"))

    window_id: Mapped[str] = mapped_column(primary_key=True)
    unit_id: Mapped[str] = mapped_column(ForeignKey(UnitRow.unit_id, ondelete="CASCADE"))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime] = mapped_column(index=True)
    reason: Mapped[str]
    created_at: Mapped[CreatedAt]


class DigestPreferenceRow(Row):
    """Which digests a user gets, when, and of which units; a null hour is the cadence's default.

    `former_id` is the user's id from before ids were qualified: unsubscribe links in old mails name it.
    """

    __tablename__ = "digest_preferences"
    __table_args__ = (
        one_of("display_unit", DISPLAY_UNITS),
        CheckConstraint("hour BETWEEN 0 AND 23", name="hour"),
        Index(None, "organization_id", "user_id"),
    )

    user_id: Mapped[str] = mapped_column(ForeignKey(ContactRow.user_id, ondelete="CASCADE"), primary_key=True)
    organization_id: Mapped[str] = mapped_column(ForeignKey(OrganizationRow.organization_id))
    cadences: Mapped[list[str]] = mapped_column(ARRAY(Text))
    timezone: Mapped[str]
    hour: Mapped[int | None]
    hours: Mapped[dict[str, int]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    units: Mapped[dict[str, list[str]]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    display_unit: Mapped[str] = mapped_column(server_default=text("'C'"))
    paused: Mapped[bool] = mapped_column(server_default=text("false"))
    former_id: Mapped[str | None] = mapped_column(unique=True)
    version: Mapped[Version]
    created_at: Mapped[CreatedAt]


class ApiKeyRow(Row):
    """An API key: the secret half is kept as SHA-256 only (256 random bits need no slow hash).

    An organization of null is allowed for admins alone: a key over all organizations, made on the command line.
    `user_id` is the contact who acts with the key, where it is a person's; `created_by` names the key that made it.
    With a gateway or a unit, the key is a device's: it sends readings of these units and no others.
    """

    __tablename__ = "api_keys"
    __table_args__ = (
        one_of("role", Role),
        CheckConstraint("organization_id IS NOT NULL OR role = 'admin'", name="organization"),
        CheckConstraint("num_nonnulls(gateway_id, unit_id) = 0 OR role = 'gateway'", name="device"),
        Index(None, "organization_id", "key_id"),
    )

    key_id: Mapped[str] = mapped_column(primary_key=True)
    organization_id: Mapped[str | None] = mapped_column(ForeignKey(OrganizationRow.organization_id))
    role: Mapped[str]
    name: Mapped[str]
    user_id: Mapped[str | None]
    gateway_id: Mapped[str | None]
    unit_id: Mapped[str | None]
    secret_sha256: Mapped[bytes]
    created_by: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
