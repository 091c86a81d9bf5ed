"""Dead letters of every kind, and what is decided about them at NOW_MS."""

from __future__ import annotations

import base64
from typing import Any

from domain.redrive.redrive import Options, Refused, decide
from domain.redrive.redrive_record import RedriveRecord
from schemas import messages as m

NOW_MS = 1_795_000_000_000
HOUR_MS = 3_600_000


def request(**fields: Any) -> m.SmsRequest:
    known: dict[str, Any] = {
        "request_id": "r1",
        "alert_id": "a1",
        "unit_id": "u1",
        "organization_id": "acme",
        "user_id": "ann",
        "kind": m.AlertKind.TEMPERATURE_HIGH,
        "severity": m.Severity.WARNING,
        "text": "Fridge is at 9 C",
        "breach_at_ms": NOW_MS - 60_000,
        "requested_at_ms": NOW_MS - 50_000,
    }
    return m.SmsRequest(**known | fields)


def letter(age_ms: int = 0, **fields: Any) -> m.SmsDeadLetter:
    return m.SmsDeadLetter(
        request=request(**fields),
        attempts=3,
        reason="exhausted",
        error_code="timeout",
        error="no answer",
        at_ms=NOW_MS - age_ms,
    )


def email_letter(**fields: Any) -> m.EmailDeadLetter:
    wanted = m.EmailRequest(
        request_id="d1",
        job_id="j1",
        organization_id="acme",
        user_id="ann",
        cadence=m.Cadence.DAILY,
        timezone="UTC",
        period_starts_at_ms=0,
        period_ends_at_ms=1,
        display_unit="C",
        requested_at_ms=NOW_MS,
        **fields,
    )
    return m.EmailDeadLetter(request=wanted, attempts=3, reason="exhausted", error_code="x", error="y", at_ms=NOW_MS)


def digest_letter() -> m.DigestDeadLetter:
    wanted = m.DigestWanted(
        digest_id="d1",
        organization_id="acme",
        user_id="ann",
        cadence=m.Cadence.DAILY,
        timezone="UTC",
        run_on="2026-11-24",
        due_at_ms=NOW_MS,
    )
    return m.DigestDeadLetter(request=wanted, attempts=2, reason="exhausted", error_code="x", error="y", at_ms=NOW_MS)


def dead_reading(value: bytes | None, reason: str = "unknown_unit", **fields: Any) -> m.DeadReading:
    known: dict[str, Any] = {
        "reason": m.DeadLetterReason(reason),
        "detail": "why",
        "topic": "readings",
        "partition": 1,
        "offset": 7,
        "at_ms": NOW_MS,
        "value_base64": None if value is None else base64.b64encode(value).decode(),
        "value_bytes": len(value or b""),
    }
    return m.DeadReading(**known | fields)


def batch(*pairs: tuple[int, float]) -> bytes:
    return m.encode(m.ReadingBatch("u1", [m.Reading(NOW_MS + s * 1000, c) for s, c in pairs]))


def options(*, force: bool = False, max_age_ms: int = 24 * HOUR_MS) -> Options:
    return Options(force=force, max_age_ms=max_age_ms)


def judged(of: Any, *, force: bool = False, **context: Any) -> RedriveRecord | Refused:
    return decide(of, now_ms=NOW_MS, options=options(force=force), **context)


def redriven(of: Any, *, force: bool = False) -> RedriveRecord:
    decision = judged(of, force=force)
    assert isinstance(decision, RedriveRecord), decision
    return decision


def refused(decision: RedriveRecord | Refused) -> Refused:
    assert isinstance(decision, Refused), decision
    return decision
