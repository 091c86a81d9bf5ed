"""The content of a vendor's payload: readings of one device, or the reason why there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from api import validation_texts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from msgspec import ValidationError

    from schemas import messages as m


class Translated(NamedTuple):
    """`readings` is empty for a valid payload without a temperature; `nothing_because` says why."""

    device_id: str
    readings: Sequence[m.Reading]
    nothing_because: str | None = None


class PayloadError(ValueError):
    """An unusable payload; `pointer` is the JSON pointer to the error, the text says what to do."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.pointer = pointer
        self.detail = detail


def at_ms(pointer: str, at: datetime) -> int:
    """Milliseconds since 1970 UTC. Raises PayloadError for a time without a zone."""
    if at.tzinfo is None:
        raise PayloadError(pointer, f"{at.isoformat()} has no zone; append Z or an offset")
    return round(at.timestamp() * 1000)


def wrong_shape(error: ValidationError, hint: str, *, under: str = "") -> PayloadError:
    """What msgspec found, with its place as a JSON pointer; `under` is the pointer to the decoded part."""
    detail, pointer = validation_texts.split(error)
    return PayloadError(under + pointer or "/", f"{detail}; {hint}")
