"""Digests on their way: a user's digest is due, wanted from its organization's numbers, and how far it is."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from schemas.messages.configuration import Cadence
from schemas.messages.fields import AtMs, Id

LocalDate = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$", description="A date in the recipient's timezone")]


class DigestDue(Struct, frozen=True, kw_only=True, tag_field="type", tag="digest_due"):
    """A timer says that a user's digest may be due; key: user id. Whether it still is, the preference decides."""

    user_id: Id
    cadence: Cadence
    due_at_ms: AtMs


class SendDigestNow(Struct, frozen=True, kw_only=True, tag_field="type", tag="send_digest_now"):
    """A person asks for the digest of the newest whole period at once; key: user id. The schedule stays as it is."""

    command_id: Id
    user_id: Id
    organization_id: Id
    cadence: Cadence
    timezone: str
    display_unit: Annotated[str, Meta(pattern="^[CF]$")] = "C"
    requested_at_ms: AtMs


DigestRun = DigestDue | SendDigestNow


class DigestWanted(Struct, frozen=True, kw_only=True, tag_field="type", tag="digest_wanted"):
    """One user's share in a digest; key: organization id, so that an organization's numbers are made in one place.

    `digest_id` is a UUIDv5 of (user, cadence, timezone, first date of the period). The period is the one that ended
    when the local date `run_on` began. What agrees in organization, cadence, timezone, `run_on`, `due_at_ms` and
    units is one job: it is computed and rendered once.
    """

    digest_id: Id
    organization_id: Id
    user_id: Id
    cadence: Cadence
    timezone: str
    run_on: LocalDate
    due_at_ms: AtMs
    display_unit: Annotated[str, Meta(pattern="^[CF]$")] = "C"
    unit_ids: Annotated[tuple[Id, ...], Meta(description="Only these units; all when empty")] = ()
    asked_for: Annotated[bool, Meta(description="A person asked for it now; it is sent beside the regular one")] = False
    attempts: Annotated[int, Meta(ge=0, description="Attempts that were made and failed before this record")] = 0
    redrives: Annotated[int, Meta(ge=0, description="How often a person sent it again from the dead letters")] = 0


class DigestStatus(StrEnum):
    """Where a user's digest stands; `PROGRESS` has the part that is done by then."""

    DUE = "due"
    WAITING = "waiting"
    COUNTED = "counted"
    RENDERED = "rendered"
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DEAD = "dead"
    CANCELLED = "cancelled"


PROGRESS = {
    DigestStatus.DUE: 10,
    DigestStatus.WAITING: 20,
    DigestStatus.COUNTED: 50,
    DigestStatus.RENDERED: 70,
    DigestStatus.QUEUED: 80,
    DigestStatus.SENDING: 90,
    DigestStatus.SENT: 100,
    DigestStatus.DEAD: 100,
    DigestStatus.CANCELLED: 100,
}
"""Percent. `waiting` means that the recorded aggregates do not reach the period's end yet."""


class DigestProgress(Struct, frozen=True, kw_only=True, tag_field="type", tag="digest_progress"):
    """How far one user's digest is; key: user id. A lower `progress` that comes later is an attempt that ran again."""

    digest_id: Id
    user_id: Id
    organization_id: Id
    cadence: Cadence
    timezone: str
    period_starts_at_ms: AtMs
    period_ends_at_ms: AtMs
    status: DigestStatus
    progress: Annotated[int, Meta(ge=0, le=100)]
    at_ms: AtMs
    asked_for: bool = False
    error: str | None = None


class DigestDeadLetter(Struct, frozen=True, kw_only=True, tag_field="type", tag="digest_dead"):
    """A digest that could not be made; key: user id."""

    request: DigestWanted
    attempts: Annotated[int, Meta(ge=0)]
    reason: str
    error_code: str
    error: str
    at_ms: AtMs
