"""Digest preferences: who gets which digest, when."""

from typing import Annotated

from pydantic import Field, StrictBool

from schemas.http.fields import DisplayUnit, Id, Instant, PlainId, Shape
from schemas.messages import Cadence

Hour = Annotated[int, Field(strict=True, ge=0, le=23)]


class DigestPreferenceBody(Shape):
    """`hour` is local; null means the cadence's default: daily 7, weekly 9 (Monday), monthly 8 (the 1st).

    `hours` sets the hour of single cadences, `units` limits a cadence to some units; what is missing there follows
    `hour` and covers all units. `cadences` is empty once a user has unsubscribed from all of them.
    """

    cadences: list[Cadence] = Field([Cadence.DAILY], max_length=len(Cadence))
    timezone: Annotated[str, Field(max_length=64, examples=["America/New_York"])] = "UTC"
    hour: Hour | None = None
    hours: dict[Cadence, Hour] = Field({})
    units: dict[Cadence, Annotated[list[Id], Field(min_length=1, max_length=1_000)]] = Field({})
    display_unit: DisplayUnit = "C"
    paused: StrictBool = False


class NewDigestPreference(DigestPreferenceBody):
    user_id: Id


class NextRun(Shape):
    """When a digest is due: the instant, and the local time there."""

    cadence: Cadence
    at: Instant
    local_time: Annotated[str, Field(examples=["2026-03-02T07:00:00-05:00"])]


class DigestPreferenceView(DigestPreferenceBody):
    units: dict[Cadence, list[PlainId]] = Field({})
    user_id: PlainId
    next_runs: Annotated[list[NextRun], Field(description="Empty while paused")]
    created_at: Instant
