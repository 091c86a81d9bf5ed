"""A daily digest of 1,000 units for 200 recipients: how long each part takes, and how much memory.

    python -m benchmarks.digest

Covers what happens between the recorded buckets and the finished mails: summing up, drawing and rendering once for °C
and once for °F, and a whole message for each recipient. Reading from SQL and sending are not in it.
"""

from __future__ import annotations

import json
import resource
import time
from datetime import date
from typing import TYPE_CHECKING

from schemas import messages as m
from streams.domain.aggregate_numbers import BUCKET_MS, Grading, Packed, measure
from streams.domain.digest import digest
from streams.domain.digest_facts import AlertRecord, Source
from streams.domain.schedule import period_before
from streams.mail.letter import Mailbox, copy_for
from streams.mail.render import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.domain.schedule import Period

UNITS = 1000
RECIPIENTS = 200
RULE = m.Rule(rule_id="hot", limit=m.Limit.HIGH, severity=m.Severity.CRITICAL, limit_c=5.0)


def _buckets(units: list[m.UnitConfig], period: Period) -> Iterator[m.AggregateBucket]:
    """Three readings a bucket; every tenth unit is too warm now and then."""
    graded = Grading(5.0, None, 900_000)
    for number, unit in enumerate(units):
        for at_ms in range(period.starts_at_ms, period.ends_at_ms, BUCKET_MS):
            readings = Packed()
            warm = 6.0 if number % 10 == 0 and at_ms // BUCKET_MS % 40 == 0 else 3.0
            readings.append([0, 300_000, 600_000], [warm, warm + 0.4, warm + 0.2])
            yield measure(unit.unit_id, unit.organization_id, at_ms, 1, readings, None, graded)


def main() -> None:
    period = period_before(m.Cadence.DAILY, "America/New_York", date(2026, 6, 18))
    units = [
        m.UnitConfig(unit_id=f"unit-{n:04}", organization_id="org", name=f"Cooler {n}", rules=(RULE,))
        for n in range(UNITS)
    ]
    alerts = [
        AlertRecord(
            alert_id=f"alert-{n}",
            unit_id=f"unit-{n:04}",
            kind=m.AlertKind.TEMPERATURE_HIGH,
            severity=m.Severity.CRITICAL,
            started_at_ms=period.starts_at_ms + n * 60_000,
            resolved_at_ms=period.starts_at_ms + n * 60_000 + 1_800_000,
        )
        for n in range(0, UNITS, 10)
    ]
    buckets = list(_buckets(units, period))
    found: dict[str, float] = {}
    begin = time.perf_counter()

    def done(part: str) -> None:
        nonlocal begin
        found[part] = round(time.perf_counter() - begin, 2)
        begin = time.perf_counter()

    source = Source(
        organization_id="org", organization_name="Corner Stores", units=units, buckets=buckets, alerts=alerts
    )
    made = digest(source, period, period.ends_at_ms + 7 * 3_600_000)
    done("sum up, s")
    letters = {display_unit: render(made, display_unit, "https://freshtrack.example.com") for display_unit in "CF"}
    done("render °C and °F, s")
    size = 0
    for number in range(RECIPIENTS):
        mail = copy_for(
            letters["CF"[number % 2]],
            mail_id=f"mail-{number}",
            sender=Mailbox("digests@freshtrack.example.com"),
            recipient=Mailbox(f"user-{number}@example.com"),
            unsubscribe_url=f"https://freshtrack.example.com/unsubscribe/{number}",
            preferences_url=f"https://freshtrack.example.com/preferences/{number}",
        )
        size += len(mail.mime().as_bytes())
    done(f"{RECIPIENTS} messages, s")
    found["all, s"] = round(sum(found.values()), 2)
    found["one message, KB"] = round(size / RECIPIENTS / 1024)
    found["HTML, KB"] = round(len(letters["F"].html.encode()) / 1024)
    found["peak memory, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    for part, value in found.items():
        print(f"{part:24} {value:8}")
    print(json.dumps({"digest": found}))


if __name__ == "__main__":
    main()
