"""What stands above the tables: the headline numbers, the verdict in one sentence, the notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.digest import words
from domain.digest.facts import Digest, UnitDigest, UnitGrade
from domain.digest.view import Tile, Tone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ABOUT_COVERAGE = (
    "Coverage is the share of the time that readings vouch for: each one until the next, at most for the number of "
    "expected intervals after which a unit counts as offline. Time without coverage is not graded, never in range."
)
ABOUT_KINETIC = (
    "MKT is the mean kinetic temperature (ICH/USP, activation energy 83.144 kJ/mol): the constant temperature that "
    "would have stressed the goods as much as the measured one."
)


def tiles(digest: Digest) -> tuple[Tile, ...]:
    numbers = digest.numbers
    return (
        Tile("Readings", f"{numbers.total_readings:,}"),
        Tile("Alerts", f"{numbers.total_alerts:,}", Tone.WARN if numbers.total_alerts else Tone.PLAIN),
        Tile("Critical alerts", f"{numbers.critical_alerts:,}", Tone.BAD if numbers.critical_alerts else Tone.PLAIN),
        Tile("Units monitored", f"{numbers.units_monitored:,}"),
    )


def verdict(digest: Digest) -> tuple[str, Tone]:
    """The one sentence that a reader in a hurry needs."""
    by = {grade: [unit for unit in digest.units if unit.grade is grade] for grade in UnitGrade}
    parts = [f"{words.count(len(by[UnitGrade.GOOD]), 'unit')} in range"]
    parts += [f"{len(by[one]):,} {one}" for one in (UnitGrade.NOT_GRADED, UnitGrade.REMOVED) if by[one]]
    rest = ", ".join(parts)
    opened, recovered = len(by[UnitGrade.OPEN]), len(by[UnitGrade.RECOVERED])
    if opened:
        also = f", {recovered:,} recovered" if recovered else ""
        needs = "needs" if opened == 1 else "need"
        return f"{words.count(opened, 'unit')} {needs} attention now{also}; {rest}.", Tone.BAD
    if recovered:
        return f"{words.count(recovered, 'unit')} had a problem and recovered; {rest}.", Tone.WARN
    if not digest.units:
        return "No units.", Tone.UNKNOWN
    return _without_problems(digest, by, rest)


def _without_problems(digest: Digest, by: Mapping[UnitGrade, Sequence[UnitDigest]], rest: str) -> tuple[str, Tone]:
    if not digest.numbers.total_readings:
        return f"No readings: nothing is known about {words.count(len(digest.units), 'unit')}.", Tone.WARN
    if troubled := sum(bool(unit.excursions or unit.out_ms or unit.alerts) for unit in by[UnitGrade.REMOVED]):
        return f"{words.count(troubled, 'removed unit')} had a problem; {rest}.", Tone.WARN
    if by[UnitGrade.NOT_GRADED] or by[UnitGrade.REMOVED]:
        return f"No problem was seen; {rest}.", Tone.UNKNOWN
    return f"All {len(digest.units):,} units were in range.", Tone.GOOD


def notes(digest: Digest) -> tuple[str, ...]:
    found: list[str] = []
    timezone = digest.period.timezone
    if not digest.complete:
        until = digest.recorded_until_ms
        recorded = "" if until is None else f" Recorded up to {words.moment(until, timezone)}."
        found.append(
            f"Not all readings of this period had been processed by {words.moment(digest.as_of_ms, timezone)}, "
            f"after a wait of {words.duration(digest.waited_ms)}; the next digest names what they change.{recorded}"
        )
    if digest.units and not digest.numbers.total_readings:
        found.append("No readings arrived for this period: nothing is known about the temperatures.")
    if digest.sums.out_ms and not digest.numbers.total_alerts:
        found.append(
            f"Units were out of range for {words.duration(digest.sums.out_ms)}, and no alert began: an excursion that "
            "is shorter than its rule's delay, or whose readings arrive late, counts here and raises none. An alert "
            "counts in the period in which it began."
        )
    if changed := words.clock_change(digest.period):
        found.append(changed)
    return tuple(found)
