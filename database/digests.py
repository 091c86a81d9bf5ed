"""The numbers of each digest job, and its rendered digests."""

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from database.declarative import CreatedAt, Row


class DigestReportRow(Row):
    """The numbers of one job, as all its recipients get them.

    `content` is the digest (`domain.digest.facts.Digest`) in MessagePack, deflated. Later digests compare with it: for
    trends, and to name what late readings changed. Recorded buckets were known to be whole up to `recorded_until`.
    """

    __tablename__ = "digest_reports"
    __table_args__ = (Index(None, "organization_id", "cadence", "timezone", "period_starts_at"),)

    job_id: Mapped[str] = mapped_column(primary_key=True)
    organization_id: Mapped[str]
    cadence: Mapped[str]
    timezone: Mapped[str]
    period_starts_at: Mapped[datetime] = mapped_column(index=True)
    period_ends_at: Mapped[datetime]
    asked_for: Mapped[bool]
    as_of: Mapped[datetime]
    complete: Mapped[bool]
    recorded_until: Mapped[datetime]
    content: Mapped[bytes]
    created_at: Mapped[CreatedAt]


class RenderedDigestRow(Row):
    """A job's rendered digest in one unit of temperature, in MessagePack: the mail without names and links."""

    __tablename__ = "digest_letters"

    job_id: Mapped[str] = mapped_column(primary_key=True)
    display_unit: Mapped[str] = mapped_column(primary_key=True)
    content: Mapped[bytes]
    created_at: Mapped[CreatedAt] = mapped_column(index=True)
