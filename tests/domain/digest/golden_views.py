"""One organization's period with something of everything, and its mails as text.

`python -m tests.domain.digest.golden_views` rewrites the golden files; read the difference before you commit it.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from domain.detection.aggregate_numbers import BUCKET_MS
from domain.digest.courses import courses
from domain.digest.digest import digest
from domain.digest.facts import AlertRecord, Numbers, Reported, Revision, SmsCounts, Source, Sums
from domain.digest.mails import view
from domain.digest.schedule import period_before
from schemas import messages as m
from tests.streams.digests.mail_samples import period

if TYPE_CHECKING:
    from domain.digest.facts import Digest
    from domain.digest.view import View

GOLDEN = Path(__file__).with_name("golden")
HOUR = 3_600_000


def rule(limit: m.Limit, limit_c: float, severity: m.Severity = m.Severity.CRITICAL) -> m.Rule:
    return m.Rule(rule_id=f"{limit}-{severity}", limit=limit, severity=severity, limit_c=limit_c)


BOTH = (rule(m.Limit.HIGH, 8.0), rule(m.Limit.LOW, 2.0, m.Severity.WARNING))
RULES = {
    "open": BOTH,
    "recovered": BOTH,
    "cold": (rule(m.Limit.LOW, -20.0),),
    "brief": (rule(m.Limit.HIGH, 8.0),),
    "gaps": BOTH,
    "silent": BOTH,
    "bare": (),
    "Good": BOTH,
    "good too": BOTH,
}


def _buckets(name: str, begin_ms: int, end_ms: int) -> list[m.AggregateBucket]:
    rng = random.Random(name)
    out = {"open": 300.0, "recovered": 120.0, "brief": 30.0, "gone": 60.0}.get(name, 0.0)
    found = []
    for number, starts_at_ms in enumerate(range(begin_ms, end_ms, BUCKET_MS)):
        if name == "silent" or (name == "gaps" and number % 96 in (*range(8, 20), *range(60, 84))):
            continue
        bad = number % 96 in (40, 41) and out > 0
        celsius = round(rng.uniform(3.0, 6.0), 2)
        found.append(
            m.AggregateBucket(
                unit_id=f"u-{name}",
                organization_id="org-1",
                starts_at_ms=starts_at_ms,
                revision=2 if name == "recovered" and number == 5 else 1,
                count=3,
                sum_c=3 * celsius,
                min_c=celsius - (4.0 if bad and name == "cold" else 0.5),
                max_c=celsius + (5.0 if bad else 0.5),
                first_c=celsius,
                last_c=celsius,
                above_s=out if bad else 0.0,
                below_s=20.0 if bad and name == "recovered" else 0.0,
                covered_s=900.0,
                mkt_seconds=900.0,
                mkt_sum=900 * 2.1e-16,
                excursions=int(bad),
                high_c=None if name in ("bare", "cold") else 8.0,
                low_c=None if name in ("bare", "brief") else 2.0,
            )
        )
    return found


def _alert(unit: str, number: int, begin_ms: int, end_ms: int | None, **more: object) -> AlertRecord:
    known: dict[str, object] = {
        "alert_id": f"a-{unit}-{number}",
        "unit_id": f"u-{unit}",
        "kind": m.AlertKind.TEMPERATURE_HIGH,
        "severity": m.Severity.CRITICAL,
        "started_at_ms": begin_ms,
        "resolved_at_ms": end_ms,
        "extreme_c": 10.25,
        "limit_c": 8.0,
    }
    return AlertRecord(**(known | more))  # type: ignore[arg-type]


def _alerts(begin: int) -> tuple[AlertRecord, ...]:
    answered = {"acknowledged_at_ms": begin + 11 * HOUR, "acknowledged_by": "Ann"}
    cold = {"kind": m.AlertKind.TEMPERATURE_LOW, "severity": m.Severity.WARNING, "extreme_c": -1.0, "limit_c": 2.0}
    return (
        _alert("open", 1, begin + 10 * HOUR, None),
        _alert("open", 2, begin - 2 * HOUR, begin + HOUR, severity=m.Severity.INFO),
        _alert("recovered", 1, begin + 10 * HOUR, begin + 13 * HOUR, corrective_action="Door closed", **answered),
        _alert("recovered", 2, begin + 12 * HOUR, begin + 12 * HOUR + 125_000, **cold),
        _alert("silent", 1, begin + HOUR, begin + 3 * HOUR, kind=m.AlertKind.SENSOR_OFFLINE, extreme_c=None),
        _alert("gone", 1, begin + 4 * HOUR, begin + 5 * HOUR, paging=False, silent_because="maintenance window"),
    )


def whole(cadence: m.Cadence) -> Digest:
    """Every grade, alerts of several kinds, gaps, corrections of an earlier period, and a period to compare with."""
    of = period(cadence)
    begin, end = of.starts_at_ms, of.ends_at_ms
    units = [
        m.UnitConfig(unit_id=f"u-{name}", organization_id="org-1", name=name, rules=rules)
        for name, rules in RULES.items()
    ]
    found = [bucket for name in (*RULES, "gone") for bucket in _buckets(name, begin, end)]
    found.sort(key=lambda bucket: (bucket.unit_id, bucket.starts_at_ms))
    earlier = period_before(cadence, of.timezone, of.first)
    was, now = Reported(90, 2.0, 6.0, 0, 0), Reported(96, 1.5, 9.5, 120_000, 2)
    source = Source(
        organization_id="org-1",
        organization_name="Corner Store",
        units=units,
        names={"u-gone": "gone"},
        courses=courses(found, of),
        alerts=_alerts(begin),
        sms=SmsCounts(sent=40, delivered=33, failed=5, suppressed=7, opted_out=2),
        before=Sums(Numbers(1_000, 12, 9, 3), 700_000, 0.91, 6, (3, 4, 5), SmsCounts(20, 18, 2, 9, 0)),
        revisions=(Revision("u-good too", "good too", earlier, 2, was, now),),
    )
    return digest(source, of, end + 7 * HOUR)


def as_text(shown: View) -> str:
    """All fields of a view, a line for each."""
    lines = [f"{name}: {getattr(shown, name)!r}" for name in shown.__struct_fields__ if name != "sections"]
    for section in shown.sections:
        lines += ["", f"== {section.title} | {section.lead}"]
        lines += [f"picture {structs.astuple(picture)}" for picture in section.pictures]
        if section.table is not None:
            lines += [f"head {structs.astuple(heading)}" for heading in section.table.headings]
            lines += [f"{row.tone.name} | {' | '.join(row.cells)} | {row.remark}" for row in section.table.rows]
            lines += [f"left out: {section.table.left_out}"]
    return "\n".join(lines) + "\n"


def written(cadence: m.Cadence) -> str:
    """The mail in both units of temperature, and with room for four units only."""
    made = whole(cadence)
    return "\n".join(as_text(view(made, display_unit, rows)) for display_unit, rows in (("C", 60), ("F", 4)))


if __name__ == "__main__":
    for one in m.Cadence:
        (GOLDEN / f"{one}.txt").write_text(written(one), encoding="utf-8")
