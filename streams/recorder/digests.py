"""`digest-progress` → `digest_ledger`: the progress of each user's digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import messages as m
from schemas.topics import DIGEST_PROGRESS
from streams.recorder.rows import Incoming, Instant, SqlRow, insert

if TYPE_CHECKING:
    from collections.abc import Sequence


class Progress(SqlRow, frozen=True, kw_only=True, gc=False):
    digest_id: str
    user_id: str
    organization_id: str
    cadence: str
    timezone: str
    period_starts_at: Instant
    period_ends_at: Instant
    status: str
    progress: int
    asked_for: bool
    changed_at: Instant
    sent_at: Instant | None
    error: str | None


# A step that is repeated after a crash undoes nothing: sent stays sent, and a dead digest continues only when a person
# sends it again, which begins with `sending`.
LEDGER = insert(
    Progress,
    "digest_ledger",
    newest_of=("digest_id",),
    newest_by="new.progress DESC, new.number DESC",
    on_conflict=(
        "(digest_id) DO UPDATE SET status = excluded.status, progress = excluded.progress,"
        " changed_at = excluded.changed_at, sent_at = excluded.sent_at, error = excluded.error"
        f" WHERE digest_ledger.status <> '{m.DigestStatus.SENT}'"
        f" AND excluded.progress >= least(digest_ledger.progress, {m.PROGRESS[m.DigestStatus.SENDING]})"
    ),
)


def progress_rows(record: Incoming) -> Sequence[SqlRow]:
    step = DIGEST_PROGRESS.decode(record.value)
    return (
        Progress(
            digest_id=step.digest_id,
            user_id=step.user_id,
            organization_id=step.organization_id,
            cadence=step.cadence.value,
            timezone=step.timezone,
            period_starts_at=step.period_starts_at_ms,
            period_ends_at=step.period_ends_at_ms,
            status=step.status.value,
            progress=step.progress,
            asked_for=step.asked_for,
            changed_at=step.at_ms,
            sent_at=step.at_ms if step.status is m.DigestStatus.SENT else None,
            error=step.error,
        ),
    )
