"""What the API takes and gives about alerts."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.http.fields import Id, Instant, Shape
from schemas.messages import AlertKind, Severity

MOST_SILENT_MINUTES = 43_200


class AlertView(Shape):
    alert_id: str
    unit_id: str
    rule_id: str
    kind: AlertKind
    severity: Severity
    started_at: Instant
    triggered_at: Instant
    resolved_at: Instant | None
    resolved_because: str | None
    acknowledged_at: Instant | None
    acknowledged_by: str | None
    acknowledged_via: str | None
    paging: bool
    silent_because: str | None
    temperature_c: float | None
    limit_c: float | None
    extreme_c: float | None


class TimelineEntry(Shape):
    at: Instant
    event: Annotated[str, Field(examples=["acknowledged"])]
    user_id: str | None
    detail: dict[str, str]


class Order(Shape):
    """Who orders; null is whoever the key was made for."""

    user_id: Id | None = None


class SilenceOrder(Order):
    """How long an alert stays silent: until an instant, or for some minutes from now; at most 30 days."""

    until: Instant | None = None
    minutes: Annotated[int, Field(strict=True, ge=1, le=MOST_SILENT_MINUTES, examples=[60])] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.until is None) == (self.minutes is None):
            raise ValueError("give either until or minutes")
        return self


class Ordered(Shape):
    """The order was recorded and is on its way to the workers."""

    alert_id: str
    at: Instant
    by: str


class Silenced(Ordered):
    """Nobody is told of the alert before `until`."""

    until: Instant
