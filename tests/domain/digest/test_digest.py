"""What a digest says: order, grade, gaps, alerts, revisions."""

from datetime import date

import pytest
from msgspec.structs import replace

from domain.detection.aggregate_numbers import BUCKET_MS
from domain.digest.aggregate_totals import Totals
from domain.digest.compliance import Verdict, verdict
from domain.digest.courses import courses
from domain.digest.digest import digest
from domain.digest.facts import AlertRecord, Digest, SmsCounts, Source, UnitGrade
from domain.digest.gaps import Gap
from domain.digest.mails import view
from domain.digest.revisions import last_reported, revisions
from domain.digest.schedule import period_before
from domain.digest.view import Tone
from schemas import messages as m

PERIOD = period_before(m.Cadence.DAILY, "America/New_York", date(2026, 6, 18))
START, END = PERIOD.starts_at_ms, PERIOD.ends_at_ms
MORNING = END + 7 * 3_600_000
HOUR = 3_600_000


def unit(name: str, *, limited: bool = True) -> m.UnitConfig:
    rule = m.Rule(rule_id="h", limit=m.Limit.HIGH, severity=m.Severity.CRITICAL, limit_c=5.0)
    return m.UnitConfig(unit_id=f"u-{name}", organization_id="org-1", name=name, rules=(rule,) if limited else ())


def buckets(
    name: str, begin: int = 0, end: int = 96, *, above_s: float = 0, high_c: float | None = 5.0, revision: int = 1
) -> list[m.AggregateBucket]:
    return [
        m.AggregateBucket(
            unit_id=f"u-{name}",
            organization_id="org-1",
            starts_at_ms=START + number * BUCKET_MS,
            revision=revision,
            count=3,
            sum_c=9.0,
            min_c=2.0,
            max_c=4.0,
            first_c=3.0,
            last_c=3.0,
            above_s=above_s if number == begin else 0,
            below_s=0,
            covered_s=900,
            mkt_seconds=900,
            mkt_sum=1e-13,
            excursions=int(above_s > 0 and number == begin),
            high_c=high_c,
        )
        for number in range(begin, end)
    ]


def alert(name: str, begin: int, end: int | None, severity: m.Severity = m.Severity.CRITICAL) -> AlertRecord:
    return AlertRecord(
        alert_id=f"a-{name}-{begin}",
        unit_id=f"u-{name}",
        kind=m.AlertKind.TEMPERATURE_HIGH,
        severity=severity,
        started_at_ms=begin,
        resolved_at_ms=end,
    )


def made(units: list[m.UnitConfig], found: list[m.AggregateBucket], *alerts: AlertRecord) -> Digest:
    source = Source(
        organization_id="org-1",
        organization_name="Corner Store",
        units=units,
        courses=courses(sorted(found, key=lambda bucket: (bucket.unit_id, bucket.starts_at_ms)), PERIOD),
        alerts=alerts,
        sms=SmsCounts(sent=2),
    )
    return digest(source, PERIOD, MORNING)


def test_problems_come_first_then_what_recovered_then_what_is_not_graded_then_what_is_good() -> None:
    units = [unit(name) for name in ("good", "silent", "recovered", "open", "brief")]
    found = made(
        units,
        buckets("good") + buckets("recovered") + buckets("open") + buckets("brief", above_s=90),
        alert("recovered", START + HOUR, START + 2 * HOUR),
        alert("open", START + HOUR, None),
    )
    assert [(one.name, one.grade) for one in found.units] == [
        ("open", UnitGrade.OPEN),
        ("recovered", UnitGrade.RECOVERED),
        ("brief", UnitGrade.RECOVERED),
        ("silent", UnitGrade.NOT_GRADED),
        ("good", UnitGrade.GOOD),
    ]


@pytest.mark.parametrize(
    ("resolved_at_ms", "grade"),
    [
        # in the night after the day, before the mail: no longer open when it is read
        (END + HOUR, UnitGrade.RECOVERED),
        (MORNING + 1, UnitGrade.OPEN),
        (None, UnitGrade.OPEN),
    ],
)
def test_an_alert_is_open_as_of_the_moment_the_digest_is_made(resolved_at_ms: int | None, grade: UnitGrade) -> None:
    found = made([unit("a")], buckets("a"), alert("a", START + HOUR, resolved_at_ms))
    assert found.units[0].grade is grade


def test_an_alert_counts_in_the_period_in_which_it_began_and_shows_while_it_lasts() -> None:
    before = alert("a", START - HOUR, START + HOUR)
    during = alert("a", START + 2 * HOUR, START + 3 * HOUR, m.Severity.WARNING)
    after = alert("a", END, None)
    gone = alert("a", START - 3 * HOUR, START - 2 * HOUR)
    found = made([unit("a")], buckets("a"), before, during, after, gone)
    assert (found.numbers.total_alerts, found.numbers.critical_alerts) == (1, 0)
    assert [one.alert_id for one in found.alerts] == [before.alert_id, during.alert_id]
    assert found.sums.by_severity == (0, 1, 0)


@pytest.mark.parametrize(
    ("config", "found", "why", "judged"),
    [
        (unit("a"), buckets("a"), None, Verdict.COMPLIANT),
        (unit("a"), [], "no readings", Verdict.NOT_GRADED),
        (unit("a"), buckets("a", 0, 60), "readings cover only 62 % of the time", Verdict.NOT_GRADED),
        # 87 of 96 quarter hours are more than nine tenths
        (unit("a"), buckets("a", 0, 87), None, Verdict.COMPLIANT),
        (unit("a", limited=False), buckets("a", high_c=None), "no limits are set", Verdict.NOT_GRADED),
        # what was measured out of range is not excused by what was not measured
        (unit("a"), buckets("a", 0, 60, above_s=1), "readings cover only 62 % of the time", Verdict.NOT_COMPLIANT),
    ],
)
def test_only_what_readings_cover_can_be_compliant(
    config: m.UnitConfig, found: list[m.AggregateBucket], why: str | None, judged: Verdict
) -> None:
    one = made([config], found).units[0]
    assert one.why_not_graded == why
    assert verdict(one) is judged


def test_a_silence_between_buckets_is_one_gap_from_the_last_covered_moment_to_the_first() -> None:
    found = [*buckets("a", 0, 10), *buckets("a", 14, 96)]
    found[9] = _covering(found[9], 300)
    found[10] = _covering(found[10], 60)
    one = made([unit("a")], found).units[0]
    begin, end = START + 9 * BUCKET_MS + 300_000, START + 15 * BUCKET_MS - 60_000
    assert one.gaps == (Gap(begin, end, end - begin),)


def test_a_unit_without_readings_has_one_gap_of_the_whole_period() -> None:
    assert made([unit("a")], []).units[0].gaps == (Gap(START, END, END - START),)


def test_a_unit_that_began_in_the_first_quarter_hour_was_silent_before() -> None:
    found = buckets("a")
    found[0] = _covering(found[0], 600)
    assert made([unit("a")], found).units[0].gaps == (Gap(START, START + 300_000, 300_000),)


def _covering(bucket: m.AggregateBucket, covered_s: float) -> m.AggregateBucket:
    return replace(bucket, covered_s=covered_s)


def test_buckets_and_alerts_of_other_days_are_left_out() -> None:
    found = made([unit("a")], buckets("a", -4, 100), alert("a", END, None), alert("stranger", START, None))
    assert (found.numbers.total_readings, found.numbers.units_monitored) == (96 * 3, 1)
    assert found.alerts == ()
    assert [(day.on, day.readings) for day in found.days] == [(date(2026, 6, 17), 96 * 3)]


def test_a_unit_that_was_removed_is_listed_with_its_excursions() -> None:
    gone = buckets("gone", 0, 40, above_s=9540)
    found = made([unit("a")], buckets("a") + gone, alert("gone", START + HOUR, START + 2 * HOUR))
    one = next(one for one in found.units if one.unit_id == "u-gone")
    assert (one.grade, one.excursions, one.alerts, one.out_ms) == (UnitGrade.REMOVED, 1, 1, 9_540_000)
    assert verdict(one) is Verdict.NOT_COMPLIANT
    assert (found.numbers.units_monitored, found.numbers.total_alerts, found.sums.coverage) == (1, 1, 1.0)
    shown = view(found, "C")
    assert shown.verdict == "1 removed unit had a problem; 1 unit in range, 1 removed."
    section = next(one for one in shown.sections if one.title == "Removed units")
    assert section.table is not None
    assert [row.cells[0] for row in section.table.rows] == ["u-gone"]
    assert "1 excursion" in section.table.rows[0].remark


def test_a_period_without_readings_warns() -> None:
    shown = view(made([unit("a"), unit("b")], []), "C")
    assert (shown.verdict, shown.tone) == ("No readings: nothing is known about 2 units.", Tone.WARN)
    assert any("nothing is known about the temperatures" in note for note in shown.notes)
    assert not any("nothing is known" in note for note in view(made([unit("a")], buckets("a")), "C").notes)


def remark_of(found: Digest) -> str:
    section = view(found, "C").sections[0]
    assert section.table is not None
    return section.table.rows[0].remark


def test_no_alert_beside_time_out_of_range_is_explained() -> None:
    silent = made([unit("a")], buckets("a", above_s=9540))
    assert any(
        "2 h 39 min, and no alert began" in note.replace("\N{NO-BREAK SPACE}", " ") for note in view(silent, "C").notes
    )
    assert "no alert: too brief each time, or the readings arrived too late" in remark_of(silent)
    earlier = made([unit("a")], buckets("a", above_s=9540), alert("a", START - HOUR, START + HOUR))
    assert "its alert began before this period" in remark_of(earlier)
    alerted = made([unit("a")], buckets("a", above_s=9540), alert("a", START + HOUR, START + 2 * HOUR))
    assert "alert" not in remark_of(alerted)
    assert not any("no alert began" in note for note in view(alerted, "C").notes)


def late_totals(name: str, count: int, out_ms: int) -> dict[str, Totals]:
    return {f"u-{name}": Totals(count=count, min_c=2.0, max_c=4.0, above_ms=out_ms, covered_ms=1, revised=10)}


def test_the_next_digest_names_what_late_readings_changed_and_only_once() -> None:
    first = made([unit("a"), unit("b")], buckets("a", 0, 50) + buckets("b"))
    changed = revisions(PERIOD, last_reported(first, []), late_totals("a", 180, 120_000))
    assert [(one.name, one.buckets, one.was.readings, one.now.readings) for one in changed] == [("a", 10, 150, 180)]
    assert (changed[0].was.out_ms, changed[0].now.out_ms) == (0, 120_000)
    second = replace(
        first, period=period_before(m.Cadence.DAILY, "America/New_York", date(2026, 6, 19)), revisions=changed
    )
    known = last_reported(first, [second])
    assert revisions(PERIOD, known, late_totals("a", 180, 120_000)) == ()
    assert revisions(PERIOD, known, late_totals("b", 96 * 3, 0)) == ()
    [again] = revisions(PERIOD, known, late_totals("a", 183, 120_000))
    assert (again.was.readings, again.now.readings) == (180, 183)


def test_a_unit_without_readings_that_are_filled_later_is_named() -> None:
    first = made([unit("a")], [])
    assert first.units[0].grade is UnitGrade.NOT_GRADED
    late = {"u-a": Totals(count=288, min_c=2.0, max_c=9.0, above_ms=60_000, covered_ms=1)}
    [change] = revisions(PERIOD, last_reported(first, []), late)
    assert (change.was.readings, change.now.readings, change.now.max_c) == (0, 288, 9.0)
