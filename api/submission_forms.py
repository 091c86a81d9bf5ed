"""The three forms of a submission (one reading, many of a unit, several units), and the receipt for it."""

from __future__ import annotations

from datetime import datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from domain.detection.reading_validation import PossibleReading
from domain.temperatures import fahrenheit
from schemas import messages as m  # noqa: TC001 - msgspec reads the annotations
from schemas.messages.reading_bounds import COLDEST_C, EARLIEST_MS, LATEST_MS, WARMEST_C

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_UNITS = 1_000
MAX_READINGS = 50_000
SHOWN_REFUSALS = 100


Time = Annotated[int, Meta(ge=EARLIEST_MS, le=LATEST_MS, description="Milliseconds since 1970-01-01 UTC")]
Instant = Annotated[datetime, Meta(tz=True, description="ISO 8601 with a zone, instead of at_ms")]
Celsius = Annotated[float, Meta(ge=COLDEST_C, le=WARMEST_C, description="Degrees Celsius")]
Fahrenheit = Annotated[
    float, Meta(ge=fahrenheit(COLDEST_C), le=fahrenheit(WARMEST_C), description="°F, instead of temperature_c")
]


class TimedTemperature(Struct, frozen=True):
    """A reading: one of at_ms and at, one of temperature_c and temperature_f."""

    at_ms: Time | UnsetType = UNSET
    at: Instant | UnsetType = UNSET
    temperature_c: Celsius | UnsetType = UNSET
    temperature_f: Fahrenheit | UnsetType = UNSET


class OneReading(TimedTemperature, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A reading with its unit."""

    unit_id: m.Id


class UnitReadings(Struct, frozen=True, forbid_unknown_fields=True):
    """Readings of one unit, in any order."""

    unit_id: m.Id
    readings: Annotated[list[TimedTemperature], Meta(min_length=1, max_length=MAX_READINGS)]


class SeveralUnits(Struct, frozen=True, forbid_unknown_fields=True):
    """Readings of several units; a unit may appear more than once."""

    batches: Annotated[list[UnitReadings], Meta(min_length=1, max_length=MAX_UNITS)]


Readings = Annotated[list[PossibleReading], Meta(min_length=1, max_length=MAX_READINGS)]


class PlainUnit(Struct, frozen=True, forbid_unknown_fields=True):
    unit_id: m.Id
    readings: Readings


class PlainSubmission(Struct, frozen=True, forbid_unknown_fields=True):
    """All forms in one struct, for a single pass of the decoder, with milliseconds and °C: what most gateways send."""

    unit_id: m.Id | UnsetType = UNSET
    at_ms: Time | UnsetType = UNSET
    temperature_c: Celsius | UnsetType = UNSET
    readings: Readings | UnsetType = UNSET
    batches: Annotated[list[PlainUnit], Meta(min_length=1, max_length=MAX_UNITS)] | UnsetType = UNSET


class LooseUnit(Struct, frozen=True, forbid_unknown_fields=True):
    unit_id: m.Id
    readings: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_READINGS)]


class LooseSubmission(Struct, frozen=True, forbid_unknown_fields=True):
    """The same with undecoded readings, in any unit of time and temperature."""

    unit_id: m.Id | UnsetType = UNSET
    at_ms: msgspec.Raw | UnsetType = UNSET
    at: msgspec.Raw | UnsetType = UNSET
    temperature_c: msgspec.Raw | UnsetType = UNSET
    temperature_f: msgspec.Raw | UnsetType = UNSET
    readings: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_READINGS)] | UnsetType = UNSET
    batches: Annotated[list[LooseUnit], Meta(min_length=1, max_length=MAX_UNITS)] | UnsetType = UNSET

    def reading(self) -> msgspec.Raw:
        """The fields of a single reading, as one of a list would have them."""
        fields = ((name, getattr(self, name)) for name in TimedTemperature.__struct_fields__)
        return msgspec.Raw(
            b"{%b}" % b",".join(b'"%b":%b' % (name.encode(), bytes(raw)) for name, raw in fields if raw is not UNSET)
        )


class Form(Enum):
    ONE = auto()
    MANY = auto()
    SEVERAL = auto()


# Whether there is a unit, a time or a temperature, a list of readings, a list of batches.
FORMS: dict[tuple[bool, bool, bool, bool], Form] = {
    (True, True, False, False): Form.ONE,
    (True, False, True, False): Form.MANY,
    (False, False, False, True): Form.SEVERAL,
}


class Refused(Struct, frozen=True, omit_defaults=True):
    """A refused reading; `index` counts within its unit and is null for the whole unit."""

    reason: str
    detail: str
    index: int | None = None


class Item(Struct, frozen=True):
    """The result for one unit; at most 100 refusals are listed."""

    unit_id: str
    accepted: int
    refused: int
    refusals: list[Refused]


class Receipt(Struct, frozen=True):
    """The receipt: the broker has acknowledged every reading counted as accepted."""

    accepted: int
    refused: int
    items: list[Item]


class Part(Struct):
    """One unit's readings: those to send, and those refused so far."""

    unit_id: str
    readings: Sequence[m.Reading]
    refused: int = 0
    refusals: list[Refused] = msgspec.field(default_factory=list)

    def refuse(self, reason: str, detail: str, index: int | None = None, count: int = 1) -> None:
        self.refused += count
        if len(self.refusals) < SHOWN_REFUSALS:
            self.refusals.append(Refused(reason, detail, index))

    def refuse_all(self, reason: str, detail: str) -> None:
        """Refuse the remaining readings too."""
        if self.readings:
            self.refuse(reason, detail, count=len(self.readings))
            self.readings = ()

    def item(self) -> Item:
        return Item(self.unit_id, len(self.readings), self.refused, self.refusals)


EXAMPLES = {
    "one reading": {"value": {"unit_id": "freezer-1", "at_ms": 1_772_366_400_000, "temperature_c": -18.2}},
    "one reading, ISO 8601 and °F": {
        "value": {"unit_id": "freezer-1", "at": "2026-03-01T12:00:00Z", "temperature_f": -0.8}
    },
    "many of one unit": {
        "value": {
            "unit_id": "freezer-1",
            "readings": [
                {"at_ms": 1_772_366_400_000, "temperature_c": -18.2},
                {"at_ms": 1_772_366_460_000, "temperature_c": -18.1},
            ],
        }
    },
    "several units": {
        "value": {
            "batches": [
                {"unit_id": "freezer-1", "readings": [{"at_ms": 1_772_366_400_000, "temperature_c": -18.2}]},
                {"unit_id": "fridge-1", "readings": [{"at_ms": 1_772_366_400_000, "temperature_c": 4.1}]},
            ]
        }
    },
}
