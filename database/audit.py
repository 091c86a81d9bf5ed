"""The audit trail: who changed what, when, from where, and what it was before. Triggers write it (`audit_triggers`)."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from database.declarative import Row


class AuditEntryRow(Row):
    """One change, written in its transaction. The database refuses updates, and deletions within the year.

    `before` and `after` have the columns that changed (all of them for a new or a deleted row), without values of
    secrets and without those in `AuditPersonalRow`. `origin` is the address of an HTTP request, or the host of a
    command. An organization of null means a change that concerns all of them.
    """

    __tablename__ = "audit_trail"
    __table_args__ = (
        Index(None, "organization_id", "entry_id"),
        Index(None, "subject_kind", "subject_id"),
    )

    entry_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"), index=True)
    organization_id: Mapped[str | None]
    actor: Mapped[str]
    origin: Mapped[str | None]
    action: Mapped[str]
    subject_kind: Mapped[str]
    subject_id: Mapped[str]
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    after: Mapped[dict[str, Any] | None] = mapped_column(JSONB)


class AuditPersonalRow(Row):
    """The personal part of an entry: names, numbers, addresses. Only the erasure of the person deletes it earlier.

    It is apart from the entry, so that an erasure takes the values and leaves the trail itself untouched.
    """

    __tablename__ = "audit_personal"

    entry_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey(AuditEntryRow.entry_id, ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[str | None] = mapped_column(index=True)
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    after: Mapped[dict[str, Any] | None] = mapped_column(JSONB)


class ErasureRow(Row):
    """The receipt of an erasure. It names the person by a digest of the user id only.

    `pseudonym` stands in the records where the user id stood; `counts` says how many rows of which table changed.
    """

    __tablename__ = "erasures"
    __table_args__ = (Index(None, "organization_id", "erased_at", "receipt_id"),)

    receipt_id: Mapped[str] = mapped_column(primary_key=True)
    organization_id: Mapped[str]
    user_sha256: Mapped[bytes] = mapped_column(index=True)
    pseudonym: Mapped[str]
    erased_by: Mapped[str]
    erased_at: Mapped[datetime]
    complete_by_at: Mapped[datetime]
    counts: Mapped[dict[str, int]] = mapped_column(JSONB)
