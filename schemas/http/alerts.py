"""Alerts, their timelines, and commands about them."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.http.fields import Id, Instant, Line, PlainId, Shape
from schemas.messages import AlertKind, Severity

MAX_SILENCE_MINUTES = 43_200


class AlertView(Shape):
    alert_id: str
    unit_id: PlainId
    rule_id: str
    kind: AlertKind
    severity: Severity
    started_at: Instant
    triggered_at: Instant
    resolved_at: Instant | None
    resolved_because: str | None
    acknowledged_at: Instant | None
    acknowledged_by: PlainId | None
    acknowledged_via: str | None
    acknowledgement_note: str | None
    paging: bool
    silent_because: str | None
    temperature_c: float | None
    limit_c: float | None
    extreme_c: float | None


class TimelineEntry(Shape):
    at: Instant
    event: Annotated[str, Field(examples=["acknowledged"])]
    user_id: PlainId | None
    detail: dict[str, str]


class AlertOrder(Shape):
    """Who gives the command; null means the caller's key."""

    user_id: Id | None = None


class Acknowledgement(AlertOrder):
    note: Annotated[
        Line | None,
        Field(description="What was done about it; compliance reports show it as the corrective action"),
    ] = None


class SilenceOrder(AlertOrder):
    """How long to silence an alert: until an instant, or for some minutes from now; at most 30 days."""

    until: Instant | None = None
    minutes: Annotated[int, Field(strict=True, ge=1, le=MAX_SILENCE_MINUTES, examples=[60])] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.until is None) == (self.minutes is None):
            raise ValueError("give until or minutes, not both")
        return self


class Accepted(Shape):
    """The command is recorded and on its way to the workers."""

    alert_id: str
    at: Instant
    by: PlainId


class Silenced(Accepted):
    """Nobody is notified of the alert before `until`."""

    until: Instant
