"""One step on a unit's buckets: sort readings in, close what is due, revise what is late."""

from __future__ import annotations

from bisect import bisect_left
from heapq import heappop, heappush
from operator import le
from typing import TYPE_CHECKING

from domain.detection.aggregate_numbers import BUCKET_MS, Before, Grading, Packed, measure, union
from domain.detection.aggregate_state import NEVER, ClosedBucket, OpenBucket, Policy, Step, UnitBuckets
from schemas import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from domain.detection.aggregate_state import Graded, Load

FORGET_AT_ONCE = 8
# Sealed repetitions are removed at the latest when a row grows beyond this.
SEALED_AT_MOST = 2000


def _by_bucket(
    at_ms: Sequence[int], celsius: Sequence[float], first: int, last: int
) -> Iterable[tuple[int, list[int], Sequence[float]]]:
    """The run cut at the borders of buckets: start, offsets from it, temperatures; a start may come again."""
    start = first - first % BUCKET_MS
    if last < start + BUCKET_MS:
        return ((start, [at - start for at in at_ms], celsius),)
    return _cut(at_ms, celsius)


def _cut(at_ms: Sequence[int], celsius: Sequence[float]) -> Iterator[tuple[int, list[int], Sequence[float]]]:
    begin, count = 0, len(at_ms)
    in_order = all(map(le, at_ms, at_ms[1:]))
    while begin < count:
        start = at_ms[begin] - at_ms[begin] % BUCKET_MS
        ends = start + BUCKET_MS
        if in_order:
            end = bisect_left(at_ms, ends, begin)
        else:
            end = begin + 1
            while end < count and start <= at_ms[end] < ends:
                end += 1
        yield start, [at - start for at in at_ms[begin:end]], celsius[begin:end]
        begin = end


class BucketWork:
    """One step on one unit's buckets, reading through the rows that it is about to write."""

    def __init__(
        self,
        state: UnitBuckets,
        about: Graded,
        load: Load,
        policy: Policy,
    ) -> None:
        self.state, self.about, self.load, self.policy = state, about, load, policy
        self.step = Step()

    def row(self, start: int) -> ClosedBucket | None:
        rows = self.step.rows
        found = rows[start] if start in rows else self.load(self.about.unit_id, start)
        ours = found is None or found.organization_id in ("", self.about.organization_id)
        return found if ours else None

    def sort_in(self, at_ms: Sequence[int], celsius: Sequence[float], first: int, last: int) -> None:
        """Sort readings in and close what they close; each is judged by what came before it, however runs are cut."""
        state, grace_ms = self.state, self.policy.grace_ms
        late: dict[int, Packed] = {}
        for start, offsets, values in _by_bucket(at_ms, celsius, first, last):
            if start >= state.closed_until_ms:
                self._add(self._open(start), offsets, values)
            elif start < self._horizon_ms():
                self.step.too_late.extend(map(m.Reading, [start + offset for offset in offsets], values))
            else:
                late.setdefault(start, Packed()).append(offsets, values)
            state.newest_at_ms = max(state.newest_at_ms, start + max(offsets))
            if state.open and state.open[0].starts_at_ms + BUCKET_MS <= state.newest_at_ms - grace_ms:
                # Closing moves the horizon on: what is late needs its row now.
                self._revise(late)
                late = {}
                self.close_before(state.newest_at_ms - grace_ms)
        self._revise(late)

    def _add(self, bucket: OpenBucket, offsets: list[int], celsius: Sequence[float]) -> None:
        if bucket.size + len(offsets) <= self.policy.seal_at:
            bucket.append(offsets, celsius)
            return
        row = self.row(bucket.starts_at_ms) if bucket.sealed else None
        sealed = row.readings if row else Packed()
        if sealed.size + bucket.size + len(offsets) > self.policy.max_readings:
            offsets, celsius = self._within_cap(bucket.starts_at_ms, union(sealed, bucket.packed()), offsets, celsius)
        bucket.append(offsets, celsius)
        # Repetitions alone do not fill a bucket.
        found = bucket.packed()
        if found.size <= self.policy.seal_at // 2:
            return
        sealed.extend(found)
        if sealed.size > SEALED_AT_MOST:
            sealed.read()
        self.step.rows[bucket.starts_at_ms] = ClosedBucket(
            0, sealed, None, self.about.graded, self.about.organization_id
        )
        bucket.pairs, bucket.sealed = b"", True

    def _within_cap(
        self, start: int, known: Packed, offsets: Sequence[int], celsius: Sequence[float]
    ) -> tuple[list[int], list[float]]:
        """Those of the readings for which the bucket has room beside `known`; the others are too many."""
        seen, kept_offsets, kept = set(known.read()[0]), [], []
        for offset, value in zip(offsets, celsius, strict=True):
            if offset in seen or len(seen) < self.policy.max_readings:
                seen.add(offset)
                kept_offsets.append(offset)
                kept.append(value)
            else:
                self.step.too_many.append(m.Reading(start + offset, value))
        return kept_offsets, kept

    def close_before(self, ends_ms: int) -> None:
        """Close, oldest first, every open bucket that ends at or before `ends_ms`."""
        state = self.state
        while state.open and state.open[0].starts_at_ms + BUCKET_MS <= ends_ms:
            bucket, *others = state.open
            state.open = tuple(others)
            start = bucket.starts_at_ms
            row = self.row(start) if bucket.sealed else None
            readings = union(row.readings, bucket.packed()) if row else bucket.packed()
            self._publish(start, row, readings, state.before, self.about.graded)
            state.closed_until_ms = start + BUCKET_MS
            self._reach_on()
            self._forget(start)

    def _open(self, start: int) -> OpenBucket:
        buckets = self.state.open
        if buckets and buckets[-1].starts_at_ms == start:
            return buckets[-1]
        at = bisect_left(buckets, start, key=lambda bucket: bucket.starts_at_ms)
        if at < len(buckets) and buckets[at].starts_at_ms == start:
            return buckets[at]
        bucket = OpenBucket(start)
        self.state.open = (*buckets[:at], bucket, *buckets[at:])
        return bucket

    def _reach_on(self) -> None:
        """Open the next bucket when the last closed reading vouches into it, so that it is published in any case."""
        state = self.state
        if state.before and state.before.at_ms + self.about.graded.vouch_ms > state.closed_until_ms:
            self._open(state.closed_until_ms)

    def _publish(
        self, start: int, was: ClosedBucket | None, readings: Packed, before: Before | None, graded: Grading
    ) -> Before | None:
        """Publish the next revision if the numbers changed; returns the last reading up to the bucket's end."""
        if before is not None and before.at_ms + graded.vouch_ms < start:
            before = None
        unit_id, organization_id = self.about.unit_id, self.about.organization_id
        revision = was.revision + 1 if was else 1
        found = measure(unit_id, organization_id, start, revision, readings, before, graded)
        if was and revision > 1:
            former = measure(unit_id, organization_id, start, revision, was.readings, was.before, graded)
            revision -= found == former
        if was is None or was.revision < revision:
            self.step.published.append(found)
        self.step.rows[start] = ClosedBucket(revision, readings, before, graded, organization_id)
        if found.last_at_ms is None or found.last_c is None:
            return before
        last = Before(found.last_at_ms, found.last_c)
        if self.state.before is None or self.state.before.at_ms <= last.at_ms:
            self.state.before = last
        return last

    def _revise(self, late: dict[int, Packed]) -> None:
        """Add late readings to closed buckets, oldest first, and follow what their last readings vouch for.

        A row that has the readings already is treated alike: it may be left from a run that ended before the state was
        stored, and then neither the state nor the buckets after it know of them.
        """
        if not late:
            return
        state = self.state
        state.kept_from_ms = min(state.kept_from_ms, *late)
        queue = sorted(late)
        while queue:
            start = heappop(queue)
            row = self.row(start)
            graded = row.graded if row else self.about.graded
            readings = row.readings if row else Packed()
            if start in late:
                readings = self._joined(start, readings, late[start])
            before = self._last_before(start, graded.vouch_ms) or (row.before if row else None)
            last = self._publish(start, row, readings, before, graded)
            following = start + BUCKET_MS
            # Beyond a bucket that only had another reading before it, its own readings vouch as they did.
            reaches_on = start in late or not readings.size
            if reaches_on and following < state.closed_until_ms and following not in late:
                after = self.row(following)
                vouch_ms = after.graded.vouch_ms if after else self.about.graded.vouch_ms
                # One that vouches just up to the border changes the next bucket's excursions, and makes none.
                if last and last.at_ms + vouch_ms + (after is not None) > following:
                    heappush(queue, following)
        self._reach_on()

    def _joined(self, start: int, readings: Packed, late: Packed) -> Packed:
        if readings.size + late.size > self.policy.max_readings:
            late_readings, late = late.read(), Packed()
            late.append(*self._within_cap(start, readings, *late_readings))
        return union(readings, late)

    def _last_before(self, start: int, vouch_ms: int) -> Before | None:
        """The newest closed reading before `start` that vouches into it."""
        earlier = start - BUCKET_MS
        # No row lies before those that are kept.
        while earlier + BUCKET_MS > start - vouch_ms and earlier >= self.state.kept_from_ms:
            row = self.row(earlier)
            if row and row.readings.size:
                offsets, celsius = row.readings.read()
                at_ms = earlier + offsets[-1]
                return Before(at_ms, celsius[-1]) if at_ms + vouch_ms >= start else None
            earlier -= BUCKET_MS
        return None

    def _horizon_ms(self) -> int:
        """The start of the oldest bucket that can still be revised."""
        newest = self.state.newest_at_ms
        return newest - newest % BUCKET_MS - self.policy.keep_ms

    def _forget(self, closed_ms: int) -> None:
        """Delete rows beyond the horizon; a few at a time, so that a gap of weeks costs no long step."""
        state = self.state
        if state.kept_from_ms == NEVER or closed_ms < state.kept_from_ms:
            state.kept_from_ms = closed_ms
        horizon_ms = self._horizon_ms()
        for _ in range(FORGET_AT_ONCE):
            if state.kept_from_ms >= horizon_ms:
                return
            self.step.rows[state.kept_from_ms] = None
            state.kept_from_ms += BUCKET_MS
