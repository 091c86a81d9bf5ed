"""Digests: their progress, one to send now, one to preview."""

from typing import Annotated

from pydantic import Field

from schemas.http.fields import DisplayUnit, Id, Instant, PlainId, Shape
from schemas.messages import Cadence


class DigestOrder(Shape):
    """Send the digest of the newest complete period now; the schedule does not change."""

    user_id: Id
    cadence: Cadence = Cadence.DAILY


class RequestedDigest(Shape):
    """The digest is on its way; `GET /v1/digests?user_id=…` shows its progress."""

    digest_id: str
    cadence: Cadence
    timezone: str
    period_starts_at: Instant
    period_ends_at: Instant


class DigestEntry(Shape):
    """One user's digest of one period."""

    digest_id: str
    user_id: PlainId
    cadence: Cadence
    timezone: str
    period_starts_at: Instant
    period_ends_at: Instant
    status: Annotated[str, Field(examples=["sent"])]
    progress: Annotated[int, Field(ge=0, le=100, description="Percent")]
    asked_for: Annotated[bool, Field(description="Somebody requested it, in addition to the scheduled one")]
    changed_at: Instant
    sent_at: Instant | None
    error: str | None


class DigestPreview(Shape):
    """What would be sent now. `html` embeds its pictures."""

    subject: str
    cadence: Cadence
    timezone: str
    display_unit: DisplayUnit
    period_starts_at: Instant
    period_ends_at: Instant
    complete: Annotated[bool, Field(description="False while the recorded buckets end before the period does")]
    total_readings: int
    total_alerts: int
    critical_alerts: int
    units_monitored: int
    attachments: list[str]
    html: str
    text: str
