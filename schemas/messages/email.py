"""E-mail: requests, every decision about one, retries and dead letters. No address is in any of them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from schemas.messages.configuration import Cadence
from schemas.messages.fields import AtMs, Id


class EmailRequest(Struct, frozen=True, kw_only=True, tag_field="type", tag="email"):
    """One mail to one person; key: user id. `request_id` is the digest's id.

    The letter is not here, for it is the same for many and may be a megabyte: it is kept under (`job_id`,
    `display_unit`). The address is looked up among the contacts when the mail leaves.
    """

    request_id: Id
    job_id: Id
    organization_id: Id
    user_id: Id
    cadence: Cadence
    timezone: str
    period_starts_at_ms: AtMs
    period_ends_at_ms: AtMs
    display_unit: Annotated[str, Meta(pattern="^[CF]$")]
    requested_at_ms: AtMs
    asked_for: bool = False
    attempts: Annotated[int, Meta(ge=0, description="Attempts that were made and failed before this record")] = 0
    redrives: Annotated[int, Meta(ge=0, description="How often a person sent it again from the dead letters")] = 0
    provider_failures: Annotated[
        int, Meta(ge=0, description="Failures of the provider so far; they use up no attempt")
    ] = 0


class EmailOutcome(Struct, frozen=True, kw_only=True, tag_field="type"):
    """A decision about one mail; key: user id."""

    request_id: Id
    organization_id: Id
    user_id: Id
    cadence: Cadence
    attempt: Annotated[int, Meta(ge=0)]
    at_ms: AtMs


class EmailSending(EmailOutcome, frozen=True, kw_only=True, tag="email_sending"):
    """Written to the ledger before the mail leaves, so that a crash in between is seen."""


class EmailSent(EmailOutcome, frozen=True, kw_only=True, tag="email_sent"):
    """The provider took it. `message_id` stands in the mail's header and is the same in every attempt."""

    provider_message_id: str
    message_id: str


class EmailFailed(EmailOutcome, frozen=True, kw_only=True, tag="email_failed"):
    """An attempt failed; `email_retry_scheduled`, `email_dead` or a later success follows."""

    error_code: str
    error: str


class EmailUnknown(EmailOutcome, frozen=True, kw_only=True, tag="email_unknown"):
    """A mail left and no answer came. It is sent again under the same Message-ID, by which a copy is recognized."""

    message_id: str


class EmailCancelled(EmailOutcome, frozen=True, kw_only=True, tag="email_cancelled"):
    """Not sent: the person unsubscribed, or paused, after the mail was queued."""

    because: str


class EmailRetryScheduled(EmailOutcome, frozen=True, kw_only=True, tag="email_retry_scheduled"):
    due_at_ms: AtMs
    error_code: str


class EmailDead(EmailOutcome, frozen=True, kw_only=True, tag="email_dead"):
    """Given up; the request lies in `email-dlq`."""

    reason: str
    error_code: str


MailOutcome = EmailSending | EmailSent | EmailFailed | EmailUnknown | EmailCancelled | EmailRetryScheduled | EmailDead


class EmailRetry(Struct, frozen=True, kw_only=True, tag_field="type", tag="email_retry"):
    """A failed attempt that waits for its due time; key: user id."""

    request: EmailRequest
    attempt: Annotated[int, Meta(ge=0, description="Attempts used up so far; a deferral uses none")]
    due_at_ms: AtMs
    error_code: str
    error: str


class EmailDeadLetter(Struct, frozen=True, kw_only=True, tag_field="type", tag="email_dead_letter"):
    """A mail that a person must look at; key: user id."""

    request: EmailRequest
    attempts: Annotated[int, Meta(ge=0)]
    reason: str
    error_code: str
    error: str
    at_ms: AtMs
