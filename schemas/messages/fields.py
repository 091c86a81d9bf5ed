"""Field types that the messages share."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from schemas.messages.reading_bounds import LATEST_MS

# Two ids of 100 characters and the slash between them; see `schemas.identity`.
LONGEST_ID = 201
Id = Annotated[
    str,
    Meta(min_length=1, max_length=LONGEST_ID, description="An identifier; never a phone number or an address"),
]
AtMs = Annotated[int, Meta(ge=0, le=LATEST_MS, description="Milliseconds since 1970-01-01 UTC, up to the year 9999")]
DeviceMs = Annotated[int, Meta(description="Milliseconds since 1970-01-01 UTC by a device's clock, which may be wrong")]
Celsius = Annotated[float, Meta(description="Degrees Celsius")]
