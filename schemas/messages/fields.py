"""Field types that the messages share."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Id = Annotated[str, Meta(min_length=1, max_length=200, description="An identifier; never a phone number or an address")]
AtMs = Annotated[int, Meta(description="Milliseconds since 1970-01-01 UTC")]
Celsius = Annotated[float, Meta(description="Degrees Celsius")]
