"""Whether a unit stayed in range in a period, as far as its readings can tell."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from domain.digest import words
from domain.digest.view import Tone

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
    judged = [verdict(unit) for unit in digest.units]
    counts = [(one, judged.count(one)) for one in Verdict]
    listed = ", ".join(f"{number:,} {one}" for one, number in counts if number)
    worst = next((one for one, number in counts if number), Verdict.NOT_GRADED)
    return f"Of {words.count(len(judged), 'unit')}: {listed or 'none'}.", TONES[worst]
