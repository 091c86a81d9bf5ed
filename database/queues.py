"""The outbox, the recorder's offsets, and what makes repeated requests and webhooks take effect once."""

from sqlalchemy import BigInteger, Identity, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from database.declarative import CreatedAt, Row


class OutboxRow(Row):
    """A message that the relay has not published yet; a null value is a tombstone.

    `topic` is the declared name, without the prefix of an environment; `headers` are those besides the usual ones.
    """

    __tablename__ = "outbox"
    __table_args__ = (Index(None, "topic", "sequence"),)

    sequence: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    message_id: Mapped[str]
    topic: Mapped[str]
    key: Mapped[str]
    type: Mapped[str]
    value: Mapped[bytes | None]
    traceparent: Mapped[str | None]
    headers: Mapped[dict[str, str] | None] = mapped_column(JSONB)
    created_at: Mapped[CreatedAt]


class RecorderOffsetRow(Row):
    """The next offset that the recorder has not written yet, kept in the transaction that wrote the rows before it."""

    __tablename__ = "recorder_offsets"

    topic: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(primary_key=True)
    next_offset: Mapped[int] = mapped_column(BigInteger)


class IdempotencyKeyRow(Row):
    """The answer to a POST, for a client that never received it and asks again."""

    __tablename__ = "idempotency_keys"

    key_id: Mapped[str] = mapped_column(primary_key=True)
    idempotency_key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[bytes]
    status: Mapped[int]
    headers: Mapped[str]
    body: Mapped[bytes]
    created_at: Mapped[CreatedAt] = mapped_column(index=True)


class WebhookEventRow(Row):
    """An accepted event of the SMS provider, which repeats events whose answer was lost."""

    __tablename__ = "webhook_events"

    event_id: Mapped[str] = mapped_column(primary_key=True)
    received_at: Mapped[CreatedAt] = mapped_column(index=True)
