"""What stands above the tables: the headline numbers, the verdict in one sentence, the notes."""

from __future__ import annotations

from domain.digest import words
from domain.digest.facts import Digest, UnitGrade
from domain.digest.view import Tile, Tone

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
    by = {grade: sum(unit.grade is grade for unit in digest.units) for grade in UnitGrade}
    graded = [f"{words.count(by[UnitGrade.GOOD], 'unit')} in range"]
    if by[UnitGrade.NOT_GRADED]:
        graded.append(f"{by[UnitGrade.NOT_GRADED]:,} not graded")
    rest = ", ".join(graded)
    if by[UnitGrade.OPEN]:
        needs = "needs" if by[UnitGrade.OPEN] == 1 else "need"
        recovered = f", {by[UnitGrade.RECOVERED]:,} recovered" if by[UnitGrade.RECOVERED] else ""
        return f"{words.count(by[UnitGrade.OPEN], 'unit')} {needs} attention now{recovered}; {rest}.", Tone.BAD
    if by[UnitGrade.RECOVERED]:
        return f"{words.count(by[UnitGrade.RECOVERED], 'unit')} had a problem and recovered; {rest}.", Tone.WARN
    if by[UnitGrade.NOT_GRADED]:
        return f"No problem was seen; {rest}.", Tone.UNKNOWN
    if not digest.units:
        return "No units.", Tone.UNKNOWN
    return f"All {by[UnitGrade.GOOD]:,} units were in range.", Tone.GOOD


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
    if changed := words.clock_change(digest.period):
        found.append(changed)
    return tuple(found)
