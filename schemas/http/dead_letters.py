"""What the API takes and gives about dead letters and SMS that are sent again."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StrictBool

from schemas.http.fields import Id, Instant, Shape

CODE_PATTERN = r"^[A-Za-z0-9_.-]{1,60}$"

Code = Annotated[str, Field(pattern=CODE_PATTERN, examples=["40001"])]
FailureId = Annotated[int, Field(strict=True, ge=1, le=2**53)]
Hours = Annotated[float, Field(strict=True, ge=0, le=87_600, allow_inf_nan=False)]


class DeadLetterKind(StrEnum):
    """What was given up."""

    SMS = "sms"
    READINGS = "readings"
    EMAIL = "email"


class Refusal(Shape):
    """Why something is not sent again: the value, the rule, and the way out."""

    reason: Annotated[str, Field(examples=["stale"])]
    detail: Annotated[str, Field(examples=["the letter is 25.0 h old, 24 h are allowed: what it says may be over"])]
    forcible: Annotated[bool, Field(description="Whether `force` overrules it")]


class DeadLetterView(Shape):
    """A dead letter; `refusal` is what a retry without `force` would be told now, null when nothing is in its way."""

    failure_id: int
    letter: Annotated[str, Field(examples=["sms-dlq/0/17"], description="Its place in Kafka")]
    kind: DeadLetterKind | None
    lane: str
    organization_id: str | None
    user_id: str | None
    request_id: str | None
    alert_id: str | None
    reason: str
    error_code: str | None
    error: Annotated[str | None, Field(description="Numbers and addresses are masked")]
    attempts: int
    redrives: Annotated[int, Field(description="How often it was sent again")]
    failed_at: Instant
    settled_at: Instant | None
    settled_by: str | None
    refusal: Refusal | None


class RetryOrder(Shape):
    """`force` overrules what speaks against it: age, the count of redrives, an alert that is over."""

    force: StrictBool = False
    max_age_h: Annotated[Hours, Field(description="What is older is refused as stale")] = 24.0


class RetryFilter(RetryOrder):
    """Of the letters that fit all of it and that nobody settled, the oldest `limit`."""

    dry_run: StrictBool = True
    kind: DeadLetterKind | None = None
    lane: Annotated[Code | None, Field(examples=["sms-critical"])] = None
    reason: Code | None = None
    error_code: Code | None = None
    user_id: Id | None = None
    since: Annotated[Instant | None, Field(description="Given up at or after this")] = None
    until: Annotated[Instant | None, Field(description="Given up before this")] = None
    after_failure_id: Annotated[FailureId | None, Field(description="`next_after` of the call before")] = None
    limit: Annotated[int, Field(strict=True, ge=1, le=500)] = 100


class SentAgain(Shape):
    """It is on its way to the workers under this count of redrives."""

    sent_to: Annotated[str, Field(examples=["sms-critical"], description="The topic")]
    redrives: int
    message_id: Annotated[str, Field(description="The record's `id` header, the same however often it is asked for")]


class RetriedLetter(SentAgain):
    failure_id: int
    letter: str


class RerunSms(SentAgain):
    request_id: str


class RetryItem(Shape):
    """One letter: sent (or, in a dry run, to be sent) again, or refused."""

    failure_id: int
    letter: str
    again: SentAgain | None
    refusal: Refusal | None


class RetryReport(Shape):
    """In a dry run `sent_again` counts what would be."""

    dry_run: bool
    sent_again: int
    refused: int
    items: list[RetryItem]
    next_after: Annotated[
        int | None, Field(description="Ask for what follows with `after_failure_id`; null at the end")
    ]
