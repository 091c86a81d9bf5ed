"""Whether a unit kept its range in a period, as far as its readings can tell."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from domain.digest import tables, words
from domain.digest.view import Row, Table, Tone

if TYPE_CHECKING:
    from domain.digest.facts import Digest, UnitDigest


class Verdict(StrEnum):
    """In the order in which a report shows it."""

    NOT_COMPLIANT = "not compliant"
    NOT_GRADED = "not graded"
    COMPLIANT = "compliant"


TONES = {Verdict.NOT_COMPLIANT: Tone.BAD, Verdict.NOT_GRADED: Tone.UNKNOWN, Verdict.COMPLIANT: Tone.GOOD}


def verdict(unit: UnitDigest) -> Verdict:
    """Any time out of range is not compliant; too little coverage, or no limits, cannot be compliant."""
    if unit.out_ms or unit.excursions:
        return Verdict.NOT_COMPLIANT
    return Verdict.NOT_GRADED if unit.why_not_graded else Verdict.COMPLIANT


def by_verdict(digest: Digest) -> list[tuple[Verdict, UnitDigest]]:
    order = tuple(Verdict)
    return sorted(((verdict(unit), unit) for unit in digest.units), key=lambda pair: order.index(pair[0]))


def sentence(digest: Digest) -> tuple[str, Tone]:
    """The report in one sentence."""
    judged = [one for one, _ in by_verdict(digest)]
    counts = [(one, judged.count(one)) for one in Verdict]
    told = ", ".join(f"{number:,} {one}" for one, number in counts if number)
    worst = next((one for one, number in counts if number), Verdict.NOT_GRADED)
    return f"Of {words.count(len(judged), 'unit')}: {told or 'none'}.", TONES[worst]


def compliance_table(digest: Digest, display_unit: str, at_most: int, where: str) -> Table:
    """Each unit's verdict, not compliant first."""
    rows = tuple(
        Row(
            cells=(
                unit.name,
                judged,
                words.temperature(unit.min_c, display_unit),
                words.temperature(unit.max_c, display_unit),
                words.temperature(unit.mkt_c, display_unit),
                tables.out_of_range(unit),
                f"{unit.excursions:,}",
                words.percent(unit.coverage),
            ),
            tone=TONES[judged],
            remark=tables.limits_and_doubt(unit, display_unit),
        )
        for judged, unit in by_verdict(digest)[:at_most]
    )
    return Table(
        headers=("Unit", "Verdict", "Min", "Max", "MKT", "Out of range", "Excursions", "Coverage"),
        rows=rows,
        left_out=tables.left_out(len(digest.units) - at_most, "unit", where),
        texts=2,
    )
