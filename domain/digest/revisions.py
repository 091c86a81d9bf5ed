"""What late readings changed in a period that was already reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.digest.facts import Reported, Revision

if TYPE_CHECKING:
    from collections.abc import Iterable

    from domain.digest.facts import UnitDigest
    from domain.digest.schedule import Period


def as_reported(unit: UnitDigest) -> Reported:
    return Reported(unit.readings, unit.min_c, unit.max_c, unit.out_ms, unit.revised_buckets)


def revisions(period: Period, reported: dict[str, Reported], now: Iterable[UnitDigest]) -> tuple[Revision, ...]:
    """The units of `period` whose numbers differ from the `reported` ones, the worst change first."""
    changed = [
        Revision(
            unit.unit_id,
            unit.name,
            period,
            max(1, unit.revised_buckets - was.revised_buckets),
            was,
            as_reported(unit),
        )
        for unit in now
        if (was := reported.get(unit.unit_id)) is not None
        and (was.readings, was.min_c, was.max_c, was.out_ms) != (unit.readings, unit.min_c, unit.max_c, unit.out_ms)
    ]
    return tuple(sorted(changed, key=lambda one: (one.was.out_ms - one.now.out_ms, one.name.casefold(), one.unit_id)))
