"""What the API takes and gives about summaries: how far each is, one to be sent now, one to look at."""

from typing import Annotated

from pydantic import Field

from schemas.http.fields import DisplayUnit, Id, Instant, Shape
from schemas.messages import Cadence


class DigestOrder(Shape):
    """A summary of the newest whole period is sent at once; the schedule stays as it is."""

    user_id: Id
    cadence: Cadence = Cadence.DAILY


class OrderedDigest(Shape):
    """It is on its way; `GET /v1/digests?user_id=…` tells how far."""

    digest_id: str
    cadence: Cadence
    timezone: str
    period_starts_at: Instant
    period_ends_at: Instant


class DigestEntry(Shape):
    """One user's summary of one period."""

    digest_id: str
    user_id: str
    cadence: Cadence
    timezone: str
    period_starts_at: Instant
    period_ends_at: Instant
    status: Annotated[str, Field(examples=["sent"])]
    progress: Annotated[int, Field(ge=0, le=100, description="Percent")]
    asked_for: Annotated[bool, Field(description="A person asked for it; it came beside the regular one")]
    changed_at: Instant
    sent_at: Instant | None
    error: str | None


class DigestPreview(Shape):
    """What would be sent now; nothing is. `html` has its pictures inside."""

    subject: str
    cadence: Cadence
    timezone: str
    display_unit: DisplayUnit
    period_starts_at: Instant
    period_ends_at: Instant
    complete: Annotated[bool, Field(description="False while recorded buckets do not reach the period's end")]
    total_readings: int
    total_alerts: int
    critical_alerts: int
    units_monitored: int
    attachments: list[str]
    html: str
    text: str
