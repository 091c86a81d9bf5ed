"""Pages by e-mail: the second way to people whom no SMS reaches, and notices to whoever is in charge."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from schemas.messages.fields import AtMs, Id
from schemas.messages.severity import Severity


class PageEmailCause(StrEnum):
    """Why somebody reads by e-mail what belongs on a phone."""

    SMS_NOT_ACCEPTED = "sms_not_accepted"
    """The SMS provider has not accepted the page in time."""
    SMS_IMPOSSIBLE = "sms_impossible"
    """The page was given up: no number, a number that gets no SMS, or one that opted out."""
    NOBODY_LEFT = "nobody_left"
    """To the organization's fallback contact: nobody else could be reached, or answered."""
    OPTED_OUT_ON_DUTY = "opted_out_on_duty"
    """Somebody on duty answered STOP."""


class PageEmail(Struct, frozen=True, kw_only=True, tag_field="type", tag="page_email"):
    """One mail to one person; key: user id. The address is looked up among the contacts when the mail leaves.

    `sms_request_id` is the SMS that it stands beside. Without an alert it is a notice.
    """

    request_id: Id
    organization_id: Id
    user_id: Id
    because: PageEmailCause
    subject: Annotated[str, Meta(min_length=1, max_length=400)]
    text: Annotated[str, Meta(min_length=1, max_length=8000)]
    alert_id: Id | None = None
    unit_id: Id | None = None
    severity: Severity = Severity.CRITICAL
    sms_request_id: Id | None = None
    requested_at_ms: AtMs
    attempts: Annotated[int, Meta(ge=0, description="Attempts that were made and failed before this record")] = 0
    provider_failures: Annotated[
        int, Meta(ge=0, description="Failures of the provider so far; they use up no attempt")
    ] = 0

    @property
    def redrives(self) -> int:
        """Nobody sends one again: the next page is newer."""
        return 0


class PageEmailOutcome(Struct, frozen=True, kw_only=True, tag_field="type"):
    """A decision about one page by e-mail; key: user id."""

    request_id: Id
    organization_id: Id
    user_id: Id
    alert_id: Id | None
    because: PageEmailCause
    attempt: Annotated[int, Meta(ge=0)]
    at_ms: AtMs


class PageEmailSent(PageEmailOutcome, frozen=True, kw_only=True, tag="page_email_sent"):
    """The mail provider took it."""

    message_id: str


class PageEmailFailed(PageEmailOutcome, frozen=True, kw_only=True, tag="page_email_failed"):
    """An attempt failed; the next one is due at `due_at_ms`."""

    error_code: str
    error: str
    due_at_ms: AtMs


class PageEmailDead(PageEmailOutcome, frozen=True, kw_only=True, tag="page_email_dead"):
    """Given up."""

    reason: str
    error_code: str
    error: str


PageMailOutcome = PageEmailSent | PageEmailFailed | PageEmailDead


class OperatorNotice(Struct, frozen=True, kw_only=True, tag_field="type", tag="operator_notice"):
    """What whoever runs the installation must know at once; key: organization id."""

    notice_id: Id
    organization_id: Id
    because: str
    alert_id: Id | None = None
    unit_id: Id | None = None
    severity: Severity = Severity.CRITICAL
    text: Annotated[str, Meta(min_length=1, max_length=1600)]
    at_ms: AtMs
