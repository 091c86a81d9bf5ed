"""What people were sent: each SMS and mail, and every decision about it. The recorder writes these tables."""

from datetime import datetime

from sqlalchemy import BigInteger, Identity, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from database.declarative import Row


class SmsAlertLogRow(Row):
    """One decision about one SMS, as `sms-outcomes` carries them: "why was nobody called?" is a query on this."""

    __tablename__ = "sms_alert_log"
    __table_args__ = (
        UniqueConstraint("source_topic", "source_partition", "source_offset"),
        Index(None, "alert_id", "user_id", "at"),
        Index(None, "organization_id", "at", "entry_id"),
        Index(None, "request_id"),
    )

    entry_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    request_id: Mapped[str]
    alert_id: Mapped[str]
    organization_id: Mapped[str]
    user_id: Mapped[str]
    kind: Mapped[str]
    severity: Mapped[str]
    outcome: Mapped[str]
    attempt: Mapped[int]
    at: Mapped[datetime] = mapped_column(index=True)
    attempt_id: Mapped[str | None]
    provider_message_id: Mapped[str | None]
    parts: Mapped[int | None]
    latency_ms: Mapped[int | None] = mapped_column(BigInteger)
    until_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None]
    by_request_id: Mapped[str | None]
    error_code: Mapped[str | None]
    error: Mapped[str | None]
    source_topic: Mapped[str | None]
    source_partition: Mapped[int | None]
    source_offset: Mapped[int | None] = mapped_column(BigInteger)


class SmsRequestRow(Row):
    """The newest form of a request, as its lane had it: what an SMS says, and what a rerun sends.

    `rerun_after` is the newest entry of the request's log at its last rerun: outcomes up to there are older than it.
    """

    __tablename__ = "sms_requests"
    __table_args__ = (Index(None, "alert_id"),)

    request_id: Mapped[str] = mapped_column(primary_key=True)
    alert_id: Mapped[str]
    organization_id: Mapped[str]
    user_id: Mapped[str]
    requested_at: Mapped[datetime] = mapped_column(index=True)
    level: Mapped[int]
    text: Mapped[str]
    redrives: Mapped[int]
    rerun_after: Mapped[int | None] = mapped_column(BigInteger)
    payload: Mapped[bytes]


class EmailLogRow(Row):
    """One decision about one e-mail, as `email-outcomes` carries them. `request_id` is the digest's id."""

    __tablename__ = "email_log"
    __table_args__ = (
        UniqueConstraint("source_topic", "source_partition", "source_offset"),
        Index(None, "organization_id", "at", "entry_id"),
        Index(None, "request_id"),
    )

    entry_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    request_id: Mapped[str]
    organization_id: Mapped[str]
    user_id: Mapped[str]
    cadence: Mapped[str]
    outcome: Mapped[str]
    attempt: Mapped[int]
    at: Mapped[datetime] = mapped_column(index=True)
    provider_message_id: Mapped[str | None]
    message_id: Mapped[str | None]
    due_at: Mapped[datetime | None]
    error_code: Mapped[str | None]
    error: Mapped[str | None]
    source_topic: Mapped[str]
    source_partition: Mapped[int]
    source_offset: Mapped[int] = mapped_column(BigInteger)
