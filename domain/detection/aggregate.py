"""A unit's 15-minute buckets in event time: open, closed after a grace, revised when late readings come.

`UnitBuckets` is the unit's state. An open bucket only collects readings (12 bytes each), so that the usual run of
readings costs one copy; its numbers are computed when it closes. A closed bucket keeps its readings for
`Policy.keep_ms` under its own key (`ClosedBucket`, key `unit|start`), so that a late reading changes its numbers
exactly and publishes revision n+1. Because a bucket is a set of readings (`aggregate_numbers`), neither a repetition
nor an order nor a re-run changes what is finally published; only the revision's number tells how often it changed.
Whoever stores buckets therefore lets an equal *or* higher revision replace what it has.

A bucket closes when the unit's newest reading is `grace_ms` past its end, or by the wall clock when nothing came
for `grace_ms`: see `due_at_ms` and `close_due`. A bucket that only the last reading before it vouches for is published
too, with count 0. Buckets that nothing vouches for are never published: their absence means "not graded".
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from domain.detection.aggregate_numbers import BUCKET_MS
from domain.detection.aggregate_state import NEVER, PAIR_BYTES, Policy, Step, UnitBuckets
from domain.detection.bucket_work import BucketWork

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.detection.aggregate_state import Graded, Load

_pair = struct.Struct("=dd").pack


def take(
    state: UnitBuckets,
    at_ms: Sequence[int],
    celsius: Sequence[float],
    about: Graded,
    load: Load,
    now_ms: int,
    policy: Policy,
) -> Step | None:
    """Add a run of one unit's readings, in any order, at least one; null when only `state` changed.

    `load(unit id, start)` reads a row of the table. `now_ms` is the wall clock.
    """
    count = len(at_ms)
    first, last = (at_ms[0], at_ms[0]) if count == 1 else (min(at_ms), max(at_ms))
    state.touched_at_ms = now_ms
    if state.open:
        newest, oldest = state.open[-1], state.open[0]
        start = newest.starts_at_ms
        if (
            start <= first
            and last < start + BUCKET_MS
            and (oldest is newest or last < oldest.starts_at_ms + BUCKET_MS + policy.grace_ms)
            and len(newest.pairs) + PAIR_BYTES * count <= PAIR_BYTES * policy.seal_at
        ):
            if count == 1:
                newest.pairs += _pair(first - start, celsius[0])
            else:
                newest.append([at - start for at in at_ms], celsius)
            state.newest_at_ms = max(state.newest_at_ms, last)
            return None
    work = BucketWork(state, about, load, policy)
    work.sort_in(at_ms, celsius, first, last)
    step = work.step
    return step if step.published or step.rows or step.too_late or step.too_many else None


def handed_over(state: UnitBuckets, about: Graded, load: Load, policy: Policy) -> Step:
    """The unit belongs to another organization now: close what is open for the former one, and start over.

    `about` is the unit as the former owner had it. Nothing of it stays in `state`, and its rows count as none.
    """
    work = BucketWork(state, about, load, policy)
    if state.open:
        last = state.open[-1].starts_at_ms
        work.close_before(last + BUCKET_MS)
    state.newest_at_ms = state.closed_until_ms = NEVER
    state.before, state.open, state.organization_id = None, (), ""
    return work.step


def due_at_ms(state: UnitBuckets, policy: Policy) -> int | None:
    """When, by the wall clock, the oldest open bucket closes if nothing more comes; null when none is open."""
    if not state.open:
        return None
    return max(state.open[0].starts_at_ms + BUCKET_MS, state.touched_at_ms) + policy.grace_ms


def close_due(
    state: UnitBuckets,
    about: Graded,
    load: Load,
    now_ms: int,
    policy: Policy,
) -> Step | None:
    """Close the buckets that the wall clock closes when nothing comes; null when none is due."""
    due = due_at_ms(state, policy)
    if due is None or due > now_ms:
        return None
    work = BucketWork(state, about, load, policy)
    work.close_before(now_ms - policy.grace_ms)
    return work.step
