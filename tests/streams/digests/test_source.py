"""What a digest is read from, on a real PostgreSQL: alerts, SMS, the period before, what late readings changed."""

from __future__ import annotations

import asyncio
import random
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from sqlalchemy import insert, text, update

from database.declarative import from_ms
from database.digests import RenderedDigestRow
from database.notifications import SmsAlertLogRow
from database.records import AlertRow, UnitAggregateRow
from domain.detection.aggregate_numbers import BUCKET_MS
from domain.digest.courses import courses
from domain.digest.facts import SmsCounts, UnitGrade
from domain.digest.jobs import Job, Readiness
from domain.digest.schedule import period_before
from schemas import messages as m
from streams.digests.bucket_source import buckets
from streams.digests.day_totals import day_courses
from streams.digests.preview import preview
from streams.digests.reports import packed, unpacked
from streams.digests.store import DigestStore

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from domain.digest.schedule import Period

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

ZONE = "America/New_York"
RULE = m.Rule(rule_id="h", limit=m.Limit.HIGH, severity=m.Severity.CRITICAL, limit_c=5.0)
UNITS = [
    m.UnitConfig(
        unit_id=f"u{n}", organization_id="org", organization_name="Cold & Co", name=f"Fridge {n}", rules=(RULE,)
    )
    for n in range(3)
]
WHOLE = Readiness(complete=True, waited_ms=0, recorded_until_ms=1)


def job(run_on: date, cadence: m.Cadence = m.Cadence.DAILY) -> Job:
    period = period_before(cadence, ZONE, run_on)
    return Job("org", cadence, ZONE, run_on.isoformat(), period.ends_at_ms + 7 * 3_600_000)


def bucket(unit_id: str, at_ms: int, **changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "unit_id": unit_id,
        "organization_id": "org",
        "starts_at": from_ms(at_ms),
        "revision": 1,
        "count": 3,
        "sum_c": 9.0,
        "min_c": 2.0,
        "max_c": 4.0,
        "first_c": 3.0,
        "last_c": 3.0,
        "above_s": 0.0,
        "below_s": 0.0,
        "covered_s": 900.0,
        "mkt_seconds": 900.0,
        "mkt_sum": 2e-13,
        "excursions": 0,
        "high_c": 5.0,
    }
    return row | changes


async def fill(engine: AsyncEngine, period: Period, *units: str, every_ms: int = BUCKET_MS, **changes: object) -> None:
    times = range(period.starts_at_ms, period.ends_at_ms, every_ms)
    async with engine.begin() as connection:
        rows = [bucket(unit_id, at_ms, **changes) for unit_id in units for at_ms in times]
        await connection.execute(insert(UnitAggregateRow), rows)


def alert(alert_id: str, began_ms: int, resolved_ms: int | None, **changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "alert_id": alert_id,
        "unit_id": "u0",
        "organization_id": "org",
        "rule_id": "h",
        "kind": "temperature_high",
        "severity": "critical",
        "started_at": from_ms(began_ms),
        "triggered_at": from_ms(began_ms),
        "resolved_at": None if resolved_ms is None else from_ms(resolved_ms),
        "paging": True,
        "silent_because": None,
    }
    return row | changes


async def test_alerts_and_sms_of_the_period_and_the_organization_count(database: AsyncEngine) -> None:
    of = job(date(2026, 3, 9))
    begin, end = of.period.starts_at_ms, of.period.ends_at_ms
    assert of.period.length_ms == 23 * 3_600_000
    await fill(database, of.period, "u0", "u1")
    sms = [
        ("a", "sent"),
        ("a", "sent"),
        ("a", "delivered"),
        ("b", "rate_limited"),
        ("c", "failed"),
        ("c", "dead"),
        ("d", "opted_out"),
    ]
    async with database.begin() as connection:
        await connection.execute(
            insert(AlertRow),
            [
                alert("before", begin - 9_000_000, begin - 1),
                alert("into", begin - 9_000_000, begin + 60_000, paging=False, silent_because="maintenance window"),
                alert("open", end - 60_000, None, unit_id="u1"),
                alert("after", end, None),
                alert("other", begin + 1, None, organization_id="other"),
            ],
        )
        await connection.execute(
            insert(SmsAlertLogRow),
            [
                {
                    "request_id": request,
                    "alert_id": "open",
                    "organization_id": "org",
                    "user_id": "ann",
                    "kind": "temperature_high",
                    "severity": "critical",
                    "outcome": outcome,
                    "attempt": 1,
                    "at": from_ms(begin + 1),
                }
                for request, outcome in sms
            ],
        )
    store = DigestStore(database)
    made = await store.make(of, UNITS, WHOLE, end + 1)
    assert [(one.alert_id, one.paging) for one in made.alerts] == [("open", True), ("into", False)]
    rendered = await store.rendered(of.job_id, "C")
    assert rendered is not None
    assert "nobody was paged: maintenance window" in rendered.text
    assert made.sums.sms == SmsCounts(sent=1, delivered=1, failed=1, suppressed=1, opted_out=1)
    assert {unit.unit_id: unit.grade for unit in made.units} == {
        "u1": UnitGrade.OPEN,
        "u0": UnitGrade.RECOVERED,
        "u2": UnitGrade.NOT_GRADED,
    }
    assert made.numbers.total_readings == 2 * 92 * 3
    assert made.numbers.critical_alerts == 1
    assert made.organization_name == "Cold & Co"


async def test_a_job_keeps_its_first_numbers_whoever_makes_them_again(database: AsyncEngine) -> None:
    of = job(date(2026, 5, 6))
    store = DigestStore(database)
    await fill(database, of.period, "u0")
    first = await store.make(of, UNITS, WHOLE, of.due_at_ms)
    await fill(database, of.period, "u1")
    assert await store.make(of, UNITS, WHOLE, of.due_at_ms + 1) == first
    assert await store.find(of.job_id) == first
    assert unpacked(packed(first)) == first
    assert unpacked(b"of another version") is None


async def test_a_letter_is_drawn_once_and_kept(database: AsyncEngine) -> None:
    of = job(date(2026, 5, 6))
    store = DigestStore(database)
    assert await store.rendered(of.job_id, "C") is None
    await store.make(of, UNITS, WHOLE, of.due_at_ms)
    rendered = await store.rendered(of.job_id, "C")
    # Another worker reads what the first one kept.
    assert await DigestStore(database).rendered(of.job_id, "C") == rendered
    async with database.connect() as connection:
        assert (await connection.execute(text("SELECT display_unit FROM digest_letters"))).all() == [("C",)]
        assert RenderedDigestRow.__tablename__ == "digest_letters"


async def test_the_next_day_names_what_late_readings_changed(database: AsyncEngine) -> None:
    first, second = job(date(2026, 5, 6)), job(date(2026, 5, 7))
    store = DigestStore(database)
    await fill(database, first.period, "u0", "u1")
    await store.make(first, UNITS, WHOLE, first.due_at_ms)
    late = update(UnitAggregateRow).where(
        UnitAggregateRow.unit_id == "u1", UnitAggregateRow.starts_at == first.period.starts_at
    )
    async with database.begin() as connection:
        await connection.execute(late.values(revision=2, count=5, max_c=9.0, above_s=300.0, excursions=1))
    made = await store.make(second, UNITS, WHOLE, second.due_at_ms)
    [revision] = made.revisions
    assert (revision.unit_id, revision.period, revision.buckets) == ("u1", first.period, 1)
    assert (revision.was.max_c, revision.now.max_c, revision.now.out_ms) == (4.0, 9.0, 300_000)
    rendered = await store.rendered(second.job_id, "C")
    assert rendered is not None
    assert "Fridge 1" in rendered.text


async def test_what_was_recorded_after_an_incomplete_digest_is_named_too(database: AsyncEngine) -> None:
    first, second = job(date(2026, 5, 6)), job(date(2026, 5, 7))
    store = DigestStore(database)
    waited = Readiness(complete=False, waited_ms=240_000, recorded_until_ms=first.period.starts_at_ms)
    told = await store.make(first, UNITS, waited, first.due_at_ms)
    assert (told.complete, told.recorded_until_ms) == (False, first.period.starts_at_ms)
    rendered = await store.rendered(first.job_id, "C")
    assert rendered is not None
    assert "Recorded up to Tue 5 May, 00:00." in rendered.text
    await fill(database, first.period, "u0")
    made = await store.make(second, UNITS, WHOLE, second.due_at_ms)
    assert [(one.unit_id, one.now.readings) for one in made.revisions] == [("u0", 288)]


async def test_a_month_is_compared_with_the_one_before_whether_or_not_that_was_told(database: AsyncEngine) -> None:
    october, november = job(date(2026, 11, 1), m.Cadence.MONTHLY), job(date(2026, 12, 1), m.Cadence.MONTHLY)
    store = DigestStore(database)
    day = 24 * 3_600_000
    await fill(database, october.period, "u0", every_ms=day)
    await fill(database, november.period, "u0", every_ms=day, count=4)
    untold = await store.make(november, UNITS, WHOLE, november.due_at_ms)
    assert untold.before is not None
    assert untold.before.numbers.total_readings == 31 * 3
    first = await store.make(october, UNITS, WHOLE, october.due_at_ms)
    assert first.before is None
    again = Job("org", m.Cadence.MONTHLY, ZONE, november.run_on, november.due_at_ms + 1)
    assert (await store.make(again, UNITS, WHOLE, again.due_at_ms)).before == first.sums


async def test_a_preview_keeps_nothing(database: AsyncEngine) -> None:
    made = await preview(
        database,
        "org",
        UNITS,
        cadence=m.Cadence.WEEKLY,
        timezone=ZONE,
        display_unit="F",
        now=job(date(2026, 5, 6)).period.ends_at + timedelta(hours=3),
    )
    assert made.digest.period.first == date(2026, 4, 27)
    async with database.connect() as connection:
        for table in ("digest_reports", "digest_letters", "digest_ledger", "outbox"):
            assert await connection.scalar(text(f"SELECT count(*) FROM {table}")) == 0


async def test_corrections_of_friday_that_arrive_on_sunday_are_named_on_monday_once(database: AsyncEngine) -> None:
    friday, saturday, sunday, monday = (job(date(2026, 5, day)) for day in (9, 10, 11, 12))
    store = DigestStore(database)
    for one in (friday, saturday):
        await fill(database, one.period, "u0")
        await store.make(one, UNITS, WHOLE, one.due_at_ms)
    # Friday was sent as not graded for u1; its gateway delivers two days later, in first revisions.
    await fill(database, friday.period, "u1", every_ms=6 * 3_600_000, max_c=9.0, above_s=300.0, excursions=1)
    made = await store.make(sunday, UNITS, WHOLE, sunday.due_at_ms)
    [change] = made.revisions
    assert (change.period.first, change.unit_id) == (date(2026, 5, 8), "u1")
    assert (change.was.readings, change.now.readings, change.now.out_ms) == (0, 12, 1_200_000)
    rendered = await store.rendered(sunday.job_id, "C")
    assert rendered is not None
    assert "CORRECTED SINCE THE LAST REPORT: FRIDAY, 8 MAY 2026" in rendered.text
    assert (await store.make(monday, UNITS, WHOLE, monday.due_at_ms)).revisions == ()


async def test_changes_are_measured_against_the_mail_of_the_same_hour(database: AsyncEngine) -> None:
    early, next_early = job(date(2026, 5, 6)), job(date(2026, 5, 7))
    late = replace(early, due_at_ms=early.due_at_ms + 2 * 3_600_000)
    store = DigestStore(database)
    await fill(database, early.period, "u0", count=2)
    await store.make(early, UNITS, WHOLE, early.due_at_ms)
    async with database.begin() as connection:
        await connection.execute(update(UnitAggregateRow).values(count=3, revision=2))
    await store.make(late, UNITS, WHOLE, late.due_at_ms)
    # Whoever reads at nine has seen the new numbers; whoever reads at seven has not.
    next_late = replace(next_early, due_at_ms=next_early.due_at_ms + 2 * 3_600_000)
    assert (await store.make(next_late, UNITS, WHOLE, next_late.due_at_ms)).revisions == ()
    [change] = (await store.make(next_early, UNITS, WHOLE, next_early.due_at_ms)).revisions
    assert (change.was.readings, change.now.readings) == (192, 288)


async def test_a_unit_that_was_deleted_keeps_its_name_and_its_excursions(database: AsyncEngine) -> None:
    first, second = job(date(2026, 5, 6)), job(date(2026, 5, 7))
    store = DigestStore(database)
    for one in (first, second):
        await fill(database, one.period, "u0", "u1", every_ms=6 * 3_600_000, above_s=300.0, excursions=1)
    await store.make(first, UNITS, WHOLE, first.due_at_ms)
    made = await store.make(second, UNITS[:1], WHOLE, second.due_at_ms)
    gone = next(unit for unit in made.units if unit.unit_id == "u1")
    assert (gone.name, gone.grade, gone.excursions) == ("Fridge 1", UnitGrade.REMOVED, 4)


async def test_totals_of_the_database_are_those_of_its_buckets(database: AsyncEngine) -> None:
    period = job(date(2026, 12, 1), m.Cadence.MONTHLY).period
    rng = random.Random(4)
    rows = [
        bucket(
            unit_id,
            at_ms,
            sum_c=rng.uniform(-90, 90),
            min_c=rng.uniform(-30, 0),
            max_c=rng.uniform(0, 30),
            above_s=rng.uniform(0, 450),
            below_s=rng.uniform(0, 450),
            covered_s=rng.uniform(0, 900),
            mkt_sum=rng.uniform(0, 1e-12),
            revision=rng.randint(1, 2),
            high_c=rng.choice((None, 4.0, 5.0)),
        )
        for unit_id in ("u0", "u1")
        for at_ms in range(period.starts_at_ms, period.ends_at_ms, BUCKET_MS)
        if rng.random() < 0.9
    ]
    async with database.begin() as connection:
        await connection.execute(insert(UnitAggregateRow), rows)
    async with database.connect() as connection:
        summed = {one.unit_id: one for one in await day_courses(connection, "org", period)}
        streamed = courses(buckets(connection, "org", period), period)
        expected = {one.unit_id: one for one in await asyncio.to_thread(lambda: list(streamed))}
    assert set(summed) == set(expected) == {"u0", "u1"}
    for unit_id, one in summed.items():
        assert (one.high_c, one.low_c) == (expected[unit_id].high_c, expected[unit_id].low_c)
        assert [on for on, _ in one.by_day] == [on for on, _ in expected[unit_id].by_day]
        for (_, ours), (_, wanted) in zip(one.by_day, expected[unit_id].by_day, strict=True):
            assert ours.mkt_c == pytest.approx(wanted.mkt_c, abs=1e-9)
            exact = {"kinetic": 0, "first_at_ms": None, "first_c": None, "last_at_ms": None, "last_c": None}
            assert replace(ours, **exact) == replace(wanted, **exact)


@pytest.mark.parametrize("cadence", [m.Cadence.DAILY, m.Cadence.MONTHLY])
async def test_a_digest_of_some_units_knows_no_others(database: AsyncEngine, cadence: m.Cadence) -> None:
    whole = job(date(2026, 6, 1), cadence)
    of = replace(whole, unit_ids=("u1",))
    store = DigestStore(database)
    await fill(database, of.period, "u0", "u1", every_ms=6 * 3_600_000)
    assert of.job_id != whole.job_id
    made = await store.make(of, UNITS[1:2], WHOLE, of.due_at_ms)
    assert [unit.unit_id for unit in made.units] == ["u1"]
    assert [unit.grade for unit in (await store.make(whole, UNITS, WHOLE, whole.due_at_ms)).units].count(
        UnitGrade.REMOVED
    ) == 0
    # What others were sent is nothing that changed for these recipients.
    following = job(date(2026, 6, 2) if cadence is m.Cadence.DAILY else date(2026, 7, 1), cadence)
    assert (await store.make(replace(following, unit_ids=("u0",)), UNITS[:1], WHOLE, of.due_at_ms)).revisions == ()
