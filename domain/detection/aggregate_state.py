"""What is kept of a unit's buckets: its state, the rows of the table of buckets, and what follows from a step."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import Struct

from domain.detection.aggregate_numbers import Before, Grading, Packed

# msgspec reads the annotations when the classes are made.
from schemas import messages as m  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NEVER = -(1 << 62)
PAIR_BYTES = 16


class Policy(Struct, frozen=True):
    """How long a bucket waits for stragglers, and how long it can still be revised; `seal_at` is a count of readings.

    A unit that measures every second fills a bucket with 900 readings. So that its state is not written whole with
    every batch, what exceeds `seal_at` moves to the bucket's own row. A row stays far
    below the size of a record, because a bucket takes about `max_readings`, `seal_at` more at most.
    """

    grace_ms: int = 120_000
    keep_ms: int = 48 * 3_600_000
    max_readings: int = 10_000
    seal_at: int = 64


class OpenBucket(Struct, array_like=True, gc=False):
    """Readings as pairs of 64-bit floats, offset from the start in ms and °C: one copy adds any number.

    They may hold repetitions in any order. With `sealed` the bucket's row has more of them.
    """

    starts_at_ms: int
    pairs: bytes = b""
    sealed: bool = False

    @property
    def size(self) -> int:
        """How many readings, repetitions counted."""
        return len(self.pairs) // PAIR_BYTES

    def append(self, offsets: Sequence[int], celsius: Sequence[float]) -> None:
        flat = [0.0] * (2 * len(offsets))
        flat[::2], flat[1::2] = offsets, celsius
        self.pairs += array("d", flat).tobytes()

    def packed(self) -> Packed:
        """The readings in order of time, each instant once; they are kept so from here on."""
        flat = array("d", self.pairs)
        packed = Packed()
        packed.append(list(map(int, flat[::2])), flat[1::2])
        offsets, celsius = packed.read()
        if len(offsets) < self.size:
            self.pairs = b""
            self.append(offsets, celsius)
        return packed


class ClosedBucket(Struct, array_like=True):
    """A row of the table `unit|start`; revision 0 holds sealed readings of a bucket that is still open.

    `organization_id` is the owner's: a row of a former owner counts as none. It is empty in rows of earlier versions.
    """

    revision: int
    readings: Packed
    before: Before | None
    graded: Grading
    organization_id: str = ""


if TYPE_CHECKING:
    Load = Callable[[str, int], ClosedBucket | None]
    """Reads the row of a unit id and a bucket's start."""


class UnitBuckets(Struct, array_like=True, gc=False):
    """What the worker keeps of one unit, changed in place. `touched_at_ms` is the wall clock, the others event time.

    Neither this nor what it holds is known to the garbage collector, for a worker has very many of them.
    """

    newest_at_ms: int = NEVER
    touched_at_ms: int = 0
    closed_until_ms: int = NEVER
    kept_from_ms: int = NEVER
    before: Before | None = None
    open: tuple[OpenBucket, ...] = ()
    organization_id: str = ""


class Graded(Protocol):
    """The unit whose buckets these are; a `threshold.Watch` is one."""

    @property
    def unit_id(self) -> str: ...
    @property
    def organization_id(self) -> str: ...
    @property
    def graded(self) -> Grading: ...


class About(Struct, frozen=True):
    """Just what is asked of a unit."""

    unit_id: str
    organization_id: str
    graded: Grading


class Step(Struct):
    """What follows: publish the buckets in this order, then write the rows (null deletes), then the unit's state."""

    published: list[m.AggregateBucket] = msgspec.field(default_factory=list)
    rows: dict[int, ClosedBucket | None] = msgspec.field(default_factory=dict)
    too_late: list[m.Reading] = msgspec.field(default_factory=list)
    too_many: list[m.Reading] = msgspec.field(default_factory=list)
