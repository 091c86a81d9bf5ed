"""What the fake remembers, and what `GET /control/log` gives out."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

WallMs = Annotated[float, Meta(description="Milliseconds since 1970-01-01 UTC")]
MonotonicS = Annotated[float, Meta(description="The machine's monotonic clock, comparable between processes")]


class Arrival(Struct, kw_only=True):
    """One request to send a message, whatever became of it."""

    sequence: int
    at_ms: WallMs
    at_s: MonotonicS
    in_flight: Annotated[int, Meta(description="Requests being handled at its arrival, itself included")]
    to: str = ""
    sender: str = ""
    text: str = ""
    messaging_profile_id: str = ""
    webhook_url: str = ""
    webhook_failover_url: str = ""
    accepted: bool = False
    message_id: str | None = None
    status: Annotated[int | None, Meta(description="The HTTP status; null while unanswered, for a hang or a drop")] = (
        None
    )
    code: str | None = None
    answered_s: MonotonicS | None = None


class Lookup(Struct, kw_only=True):
    """One question for the state of a message."""

    message_id: str
    at_ms: WallMs
    at_s: MonotonicS
    status: int


class Delivery(Struct, kw_only=True):
    """One attempt to hand over a webhook."""

    event_id: str
    event_type: str
    message_id: str
    url: str
    attempt: int
    at_ms: WallMs
    at_s: MonotonicS
    status: int | None = None
    error: str | None = None


class Log(Struct, kw_only=True):
    """Everything since the last reset; `since` leaves out the arrivals before that sequence number."""

    arrivals: list[Arrival] = []
    lookups: list[Lookup] = []
    deliveries: list[Delivery] = []
    in_flight: int = 0
    most_in_flight: int = 0


class Counts(Struct, kw_only=True):
    """The log in figures: cheap to ask for while thousands of messages come in."""

    arrivals: int
    accepted: int
    in_flight: int
    most_in_flight: int
    webhooks_pending: int
