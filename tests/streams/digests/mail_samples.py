"""A small digest and one recipient's mail, for the tests of mails."""

from datetime import date

from domain.detection.aggregate_numbers import BUCKET_MS
from domain.digest.courses import courses
from domain.digest.digest import digest
from domain.digest.facts import AlertRecord, Digest, SmsCounts, Source, Sums
from domain.digest.schedule import Period, period_before
from schemas import messages as m
from streams.digests.report.rendered_digest import Enclosure, Mail, Mailbox, RenderedDigest, copy_for

PIXEL = b"\x89PNG\r\n\x1a\n not a real picture"


def period(cadence: m.Cadence) -> Period:
    on = {
        m.Cadence.DAILY: date(2026, 11, 2),
        m.Cadence.WEEKLY: date(2026, 11, 9),
        m.Cadence.MONTHLY: date(2026, 11, 1),
    }[cadence]
    return period_before(cadence, "America/New_York", on)


def digest_of(cadence: m.Cadence, units: int = 3, organization_name: str = "Corner Store", suffix: str = "") -> Digest:
    """Unit 0 has an open alert and was too warm, unit 1 fell silent at noon of the first day, the others are good."""
    of = period(cadence)
    rule = m.Rule(rule_id="h", limit=m.Limit.HIGH, severity=m.Severity.CRITICAL, limit_c=5.0)
    configs = [
        m.UnitConfig(unit_id=f"u-{n:04}", organization_id="org-1", name=f"Fridge <{n}> & Söhne{suffix}", rules=(rule,))
        for n in range(units)
    ]
    buckets = [
        m.AggregateBucket(
            unit_id=config.unit_id,
            organization_id="org-1",
            starts_at_ms=starts_at_ms,
            revision=1,
            count=3,
            sum_c=9.0,
            min_c=2.0,
            max_c=7.5 if number == 0 else 4.0,
            first_c=3.0,
            last_c=3.0,
            above_s=60.0 if number == 0 else 0.0,
            below_s=0.0,
            covered_s=900.0,
            mkt_seconds=900.0,
            mkt_sum=2e-13,
            excursions=int(number == 0),
            high_c=5.0,
        )
        for number, config in enumerate(configs)
        for starts_at_ms in range(
            of.starts_at_ms, of.starts_at_ms + 12 * 3_600_000 if number == 1 else of.ends_at_ms, BUCKET_MS
        )
    ]
    alert = AlertRecord(
        alert_id="a-1",
        unit_id="u-0000",
        kind=m.AlertKind.TEMPERATURE_HIGH,
        severity=m.Severity.CRITICAL,
        started_at_ms=of.starts_at_ms + 3_600_000,
        extreme_c=7.5,
        limit_c=5.0,
    )
    source = Source(
        organization_id="org-1",
        organization_name=organization_name,
        units=configs,
        courses=courses(buckets, of),
        alerts=[alert],
        sms=SmsCounts(sent=4, delivered=3, failed=1, suppressed=7),
        before=Sums() if cadence is m.Cadence.MONTHLY else None,
    )
    return digest(source, of, of.ends_at_ms + 7 * 3_600_000)


def mail(to: str = "pat@example.com", **changes: object) -> Mail:
    rendered = RenderedDigest(
        subject="Daily Temperature Summary - Corner Störe",
        html='<p>2 °C</p><img src="cid:curve-0" alt="x">',
        text="2 °C\n.\nend",
        enclosures=(
            Enclosure("curve-0.png", "image/png", PIXEL, "curve-0"),
            Enclosure("report.pdf", "application/pdf", b"%PDF-1.4"),
        ),
    )
    fields: dict[str, object] = {
        "mail_id": "5f0c1a52-0000-5000-8000-000000000001",
        "sender": Mailbox("digests@freshtrack.example.com", "FreshTrack"),
        "recipient": Mailbox(to, "Pat Köhler"),
        "unsubscribe_url": "https://freshtrack.example.com/u/abc",
    }
    return copy_for(rendered, **(fields | changes))  # type: ignore[arg-type]
