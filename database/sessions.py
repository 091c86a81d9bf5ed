"""Who is signed in to the web pages, and the links that sign people in."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from database.configuration import ApiKeyRow, ContactRow, OrganizationRow
from database.declarative import CreatedAt, Row


class WebSessionRow(Row):
    """A browser that is signed in, as an API key or as a contact; its token is kept as SHA-256 only.

    Deleting the key or the contact ends it. `organization_id` is the one chosen, for a key over all organizations.
    """

    __tablename__ = "web_sessions"
    __table_args__ = (Index(None, "expires_at"), Index(None, "key_id"), Index(None, "user_id"))

    token_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    key_id: Mapped[str | None] = mapped_column(ForeignKey(ApiKeyRow.key_id, ondelete="CASCADE"))
    user_id: Mapped[str | None] = mapped_column(ForeignKey(ContactRow.user_id, ondelete="CASCADE"))
    organization_id: Mapped[str | None] = mapped_column(ForeignKey(OrganizationRow.organization_id))
    created_at: Mapped[CreatedAt]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class SignInLinkRow(Row):
    """A link that signs its contact in once; its token is kept as SHA-256 only."""

    __tablename__ = "sign_in_links"
    __table_args__ = (Index(None, "expires_at"), Index(None, "user_id"))

    token_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey(ContactRow.user_id, ondelete="CASCADE"))
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
