"""What late readings changed in earlier periods, against the numbers that were reported last."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from domain.detection.aggregate_state import Policy
from domain.digest.facts import Reported, Revision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from domain.digest.aggregate_totals import Totals
    from domain.digest.facts import Digest, UnitDigest
    from domain.digest.schedule import Period

# A bucket can still change this long after its period: detection's lateness, its grace, and room for a slow recorder.
CHANGES_WITHIN_MS = Policy().keep_ms + Policy().grace_ms + 3_600_000


class Known(NamedTuple):
    """What recipients know of a unit in a period."""

    name: str
    numbers: Reported


def as_reported(unit: UnitDigest) -> Reported:
    return Reported(unit.readings, unit.min_c, unit.max_c, unit.out_ms, unit.revised_buckets)


def last_reported(original: Digest, later: Iterable[Digest]) -> dict[str, Known]:
    """What a digest reported, corrected by the revisions in the `later` ones, which come in order."""
    known = {unit.unit_id: Known(unit.name, as_reported(unit)) for unit in original.units}
    for digest in later:
        for one in digest.revisions:
            if one.period.first == original.period.first:
                known[one.unit_id] = Known(one.name, one.now)
    return known


def revisions(period: Period, reported: Mapping[str, Known], now: Mapping[str, Totals]) -> tuple[Revision, ...]:
    """The units of `period` whose totals `now` differ from what was `reported`, the worst change first."""
    changed = []
    for unit_id, (name, was) in reported.items():
        total = now.get(unit_id)
        # Readings do not disappear, except by retention.
        if total is None:
            continue
        numbers = Reported(total.count, total.min_c, total.max_c, total.out_ms, total.revised)
        if _shown(was) != _shown(numbers):
            buckets = max(1, numbers.revised_buckets - was.revised_buckets)
            changed.append(Revision(unit_id, name, period, buckets, was, numbers))
    return tuple(sorted(changed, key=lambda one: (one.was.out_ms - one.now.out_ms, one.name.casefold(), one.unit_id)))


def _shown(numbers: Reported) -> tuple[object, ...]:
    return numbers.readings, numbers.min_c, numbers.max_c, numbers.out_ms


def by_period(found: Sequence[Revision]) -> list[tuple[Period, list[Revision]]]:
    """The newest period first."""
    periods = {one.period.first: one.period for one in found}
    return [
        (periods[first], [one for one in found if one.period.first == first]) for first in sorted(periods, reverse=True)
    ]
