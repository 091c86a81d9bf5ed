"""Decisions about SMS, from the log."""

from typing import Annotated

from pydantic import Field

from schemas.http.fields import Instant, PlainId, Shape


class SmsEntry(Shape):
    """One decision about one SMS, as it came from `sms-outcomes`; fields that a decision does not have are null."""

    request_id: str
    alert_id: str
    user_id: PlainId
    kind: str
    severity: str
    outcome: Annotated[str, Field(examples=["rate_limited"])]
    attempt: int
    at: Instant
    provider_message_id: str | None
    parts: int | None
    latency_ms: int | None
    until_at: Instant | None
    due_at: Instant | None
    by_request_id: Annotated[str | None, Field(description="The earlier SMS that this one was limited by")]
    error_code: str | None
    error: str | None
