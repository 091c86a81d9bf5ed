"""The three forms of a submission (one reading, many of a unit, several units), and the receipt for it."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from domain.detection.reading_validation import PossibleReading
from schemas import messages as m  # noqa: TC001 - msgspec reads the annotations
from schemas.messages.reading_bounds import COLDEST_C, EARLIEST_MS, LATEST_MS, WARMEST_C

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_UNITS = 1_000
MAX_READINGS = 50_000
SHOWN_REFUSALS = 100

Readings = Annotated[list[PossibleReading], Meta(min_length=1, max_length=MAX_READINGS)]


Time = Annotated[int, Meta(ge=EARLIEST_MS, le=LATEST_MS, description="Milliseconds since 1970-01-01 UTC")]
Temperature = Annotated[float, Meta(ge=COLDEST_C, le=WARMEST_C, description="Degrees Celsius")]


class UnitReadings(Struct, frozen=True, forbid_unknown_fields=True):
    """Readings of one unit, in any order."""

    unit_id: m.Id
    readings: Readings


Batches = Annotated[list[UnitReadings], Meta(min_length=1, max_length=MAX_UNITS)]


class OneReading(Struct, frozen=True, forbid_unknown_fields=True):
    """A reading with its unit."""

    unit_id: m.Id
    at_ms: Time
    temperature_c: Temperature


class SeveralUnits(Struct, frozen=True, forbid_unknown_fields=True):
    """Readings of several units; a unit may appear more than once."""

    batches: Batches


class Submission(Struct, frozen=True, forbid_unknown_fields=True):
    """All three forms in one struct, for a single pass of the decoder; `FORMS` says which fields make a form."""

    unit_id: m.Id | UnsetType = UNSET
    at_ms: Time | UnsetType = UNSET
    temperature_c: Temperature | UnsetType = UNSET
    readings: Readings | UnsetType = UNSET
    batches: Batches | UnsetType = UNSET


class LooseUnit(Struct, frozen=True, forbid_unknown_fields=True):
    unit_id: m.Id
    readings: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_READINGS)]


class LooseSubmission(Struct, frozen=True, forbid_unknown_fields=True):
    """The same with undecoded readings."""

    unit_id: m.Id | UnsetType = UNSET
    at_ms: msgspec.Raw | UnsetType = UNSET
    temperature_c: msgspec.Raw | UnsetType = UNSET
    readings: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_READINGS)] | UnsetType = UNSET
    batches: Annotated[list[LooseUnit], Meta(min_length=1, max_length=MAX_UNITS)] | UnsetType = UNSET


class Form(Enum):
    ONE = auto()
    MANY = auto()
    SEVERAL = auto()


# Which of the fields unit_id, at_ms, temperature_c, readings, batches are present.
FORMS: dict[tuple[bool, ...], Form] = {
    (True, True, True, False, False): Form.ONE,
    (True, False, False, True, False): Form.MANY,
    (False, False, False, False, True): Form.SEVERAL,
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
