"""A worker's part around the aggregation, for tests: keeps rows and published buckets, encoded as on disk."""

from collections.abc import Iterable

import msgspec

from domain.detection import aggregate as ag
from domain.detection.aggregate_state import About, ClosedBucket, Policy, Step, UnitBuckets
from schemas import messages as m


def newest_revisions(buckets: Iterable[m.AggregateBucket]) -> list[m.AggregateBucket]:
    """Each unit's bucket once, by unit and time; the highest revision counts, and of equal ones the later."""
    kept: dict[tuple[str, int], m.AggregateBucket] = {}
    for bucket in buckets:
        key = (bucket.unit_id, bucket.starts_at_ms)
        known = kept.get(key)
        if known is None or bucket.revision >= known.revision:
            kept[key] = bucket
    return [kept[key] for key in sorted(kept)]


class Worker:
    def __init__(self, about: About, policy: Policy) -> None:
        self.about, self.policy = about, policy
        self.state = UnitBuckets()
        self.rows: dict[int, bytes] = {}
        self.published: list[m.AggregateBucket] = []
        self.too_late: list[m.Reading] = []
        self.too_many: list[m.Reading] = []

    def load(self, unit_id: str, start: int) -> ClosedBucket | None:
        assert unit_id == self.about.unit_id
        row = self.rows.get(start)
        return None if row is None else msgspec.msgpack.decode(row, type=ClosedBucket)

    def _apply(self, step: Step | None) -> None:
        self.state = msgspec.msgpack.decode(msgspec.msgpack.encode(self.state), type=UnitBuckets)
        if step is None:
            return
        self.published += step.published
        self.too_late += step.too_late
        self.too_many += step.too_many
        for start, row in step.rows.items():
            if row is None:
                self.rows.pop(start, None)
            else:
                self.rows[start] = msgspec.msgpack.encode(row)

    def take(self, run: list[tuple[int, float]], now_ms: int = 0) -> None:
        at, values = [r[0] for r in run], [r[1] for r in run]
        self._apply(ag.take(self.state, at, values, self.about, self.load, now_ms, self.policy))

    def wait(self, now_ms: int) -> None:
        self._apply(ag.close_due(self.state, self.about, self.load, now_ms, self.policy))

    def finish(self) -> None:
        """Let the wall clock close everything."""
        while (due := ag.due_at_ms(self.state, self.policy)) is not None:
            self.wait(max(due, 1 << 50))

    def final(self) -> dict[int, m.AggregateBucket]:
        return {bucket.starts_at_ms: bucket for bucket in newest_revisions(self.published)}
