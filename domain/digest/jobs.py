"""One job computes and renders a digest once for all recipients who share organization, period, timezone, due time."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from domain.detection.aggregate_state import Policy
from domain.digest.schedule import Period, period_before
from domain.identity import derived_id
from schemas.messages import Cadence  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.messages import DigestWanted

# The last bucket of a period is closed and published this long after the period's end: its grace, and some seconds.
SETTLED_AFTER_MS = Policy().grace_ms + 30_000


class Readiness(NamedTuple):
    """How whole the recorded buckets are."""

    complete: bool
    waited_ms: int
    recorded_until_ms: int


class Job(Struct, frozen=True):
    """The due time is part of it, because a digest says what is open at that moment: 7:00 and 9:00 are two jobs."""

    organization_id: str
    cadence: Cadence
    timezone: str
    run_on: str
    due_at_ms: int
    asked_for: bool = False
    unit_ids: tuple[str, ...] = ()

    @property
    def job_id(self) -> str:
        return derived_id(
            "digest job",
            self.organization_id,
            self.cadence,
            self.timezone,
            self.run_on,
            self.due_at_ms,
            int(self.asked_for),
            *self.unit_ids,
        )

    @property
    def period(self) -> Period:
        """Raises ScheduleError for a timezone that is unknown here, ValueError for a `run_on` that is no date."""
        return period_before(self.cadence, self.timezone, date.fromisoformat(self.run_on))


def job_of(one: DigestWanted) -> Job:
    return Job(one.organization_id, one.cadence, one.timezone, one.run_on, one.due_at_ms, one.asked_for, one.unit_ids)


def jobs(wanted: Iterable[DigestWanted]) -> dict[Job, list[DigestWanted]]:
    """The jobs in the order of their first request; each digest once in its job, the one redriven most."""
    found: dict[Job, dict[str, DigestWanted]] = {}
    for one in wanted:
        shares = found.setdefault(job_of(one), {})
        known = shares.get(one.digest_id)
        if known is None or one.redrives >= known.redrives:
            shares[one.digest_id] = one
    return {job: list(shares.values()) for job, shares in found.items()}


def is_recorded(period: Period, recorded_until_ms: int) -> bool:
    """Whether everything of the period that was published by its end plus the grace can be read."""
    return recorded_until_ms >= period.ends_at_ms + SETTLED_AFTER_MS


def waits_until_ms(period: Period, due_at_ms: int, wanted_at_ms: int, limit_s: float) -> int:
    """When to stop waiting and make the digest from what is recorded.

    After an outage a digest is requested long after it was due, and the recorder needs time to catch up too. A digest
    due at midnight waits at least for its last bucket.
    """
    return round(max(due_at_ms, wanted_at_ms, period.ends_at_ms + SETTLED_AFTER_MS) + limit_s * 1000)
