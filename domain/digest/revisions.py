"""What late readings changed in a period that was already reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from domain.digest.schedule import Period  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Iterable

    from domain.digest.facts import UnitSummary


class Told(Struct, frozen=True):
    """What a digest said of a unit; kept with the digest so that a later one can tell what changed."""

    readings: int
    min_c: float | None
    max_c: float | None
    out_ms: int
    revised_buckets: int


class Revision(Struct, frozen=True):
    """One unit of an earlier period whose numbers changed; `buckets` counts the revised quarter hours."""

    unit_id: str
    name: str
    period: Period
    buckets: int
    was: Told
    now: Told


def told(unit: UnitSummary) -> Told:
    return Told(unit.readings, unit.min_c, unit.max_c, unit.out_ms, unit.revised_buckets)


def revisions(period: Period, reported: dict[str, Told], now: Iterable[UnitSummary]) -> tuple[Revision, ...]:
    """The units of `period` whose numbers differ from the `reported` ones, the worst change first."""
    changed = [
        Revision(
            unit.unit_id,
            unit.name,
            period,
            max(1, unit.revised_buckets - was.revised_buckets),
            was,
            told(unit),
        )
        for unit in now
        if (was := reported.get(unit.unit_id)) is not None
        and (was.readings, was.min_c, was.max_c, was.out_ms) != (unit.readings, unit.min_c, unit.max_c, unit.out_ms)
    ]
    return tuple(sorted(changed, key=lambda one: (one.was.out_ms - one.now.out_ms, one.name.casefold(), one.unit_id)))
