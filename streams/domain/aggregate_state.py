"""What is kept of a unit's buckets: its state, the rows of the table of buckets, and what follows from a step."""

from __future__ import annotations

from typing import Protocol

import msgspec
from msgspec import Struct

# msgspec reads the annotations when the classes are made.
from schemas import messages as m  # noqa: TC001
from streams.domain.aggregate_numbers import Before, Grading, Packed  # noqa: TC001

NEVER = -(1 << 62)


class Policy(Struct, frozen=True):
    """How long a bucket waits for stragglers, and how long it can still be revised; `seal_at` is a count of readings.

    A unit that measures every second fills a bucket with 900 readings. So that its state is not written whole with
    every batch, what exceeds `seal_at` moves to the bucket's own row.
    """

    grace_ms: int = 120_000
    keep_ms: int = 48 * 3_600_000
    seal_at: int = 64


class OpenBucket(Struct, array_like=True):
    starts_at_ms: int
    readings: Packed
    sealed: bool = False


class ClosedBucket(Struct, array_like=True):
    """A row of the table `unit|start`; revision 0 holds sealed readings of a bucket that is still open."""

    revision: int
    readings: Packed
    before: Before | None
    graded: Grading


class UnitBuckets(Struct, array_like=True):
    """What the worker keeps of one unit. `touched_at_ms` is the wall clock, the others are event time."""

    newest_at_ms: int = NEVER
    touched_at_ms: int = 0
    closed_until_ms: int = NEVER
    kept_from_ms: int = NEVER
    before: Before | None = None
    open: list[OpenBucket] = msgspec.field(default_factory=list)


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
