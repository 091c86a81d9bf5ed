"""The numbers of the digests."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from schemas.messages.fields import AtMs, Celsius, Id


class AggregateBucket(Struct, frozen=True, kw_only=True):
    """A unit's numbers of one 15-minute bucket in event time; key: unit id. A later revision replaces an earlier."""

    unit_id: Id
    organization_id: Id
    starts_at_ms: AtMs
    revision: Annotated[int, Meta(ge=1)]
    count: Annotated[int, Meta(ge=0)]
    sum_c: float
    min_c: Celsius | None
    max_c: Celsius | None
    first_c: Celsius | None
    last_c: Celsius | None
    above_s: Annotated[float, Meta(ge=0, description="Time above the high limit")]
    below_s: Annotated[float, Meta(ge=0, description="Time below the low limit")]
    covered_s: Annotated[float, Meta(ge=0, description="Time that readings vouch for; the rest is not graded")]
    mkt_seconds: Annotated[float, Meta(description="Seconds in the mean kinetic temperature's sum")] = 0.0
    mkt_sum: Annotated[float, Meta(description="Sum of exp(-dH/RT) times seconds")] = 0.0
    excursions: Annotated[int, Meta(ge=0, description="Excursions that began in the bucket")] = 0
    first_at_ms: AtMs | None = None
    last_at_ms: AtMs | None = None
    high_c: Annotated[Celsius | None, Meta(description="The limit that `above_s` is measured against")] = None
    low_c: Annotated[Celsius | None, Meta(description="The limit that `below_s` is measured against")] = None
