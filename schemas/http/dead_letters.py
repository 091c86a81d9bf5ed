"""Dead letters in the API, and sending them or finished SMS again."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StrictBool

from schemas.http.fields import Id, Instant, PlainId, Shape

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
    """Why something is not sent again: the value, the limit, and the way out."""

    reason: Annotated[str, Field(examples=["stale"])]
    detail: Annotated[str, Field(examples=["the dead letter is 25.0 h old, 24 h are allowed; force it"])]
    forcible: Annotated[bool, Field(description="Whether `force` overrules it")]


class DeadLetterView(Shape):
    """A dead letter; `refusal` is the answer that a retry without `force` would get now, null if it would be sent."""

    failure_id: int
    letter: Annotated[str, Field(examples=["sms-dlq/0/17"], description="Its place in Kafka")]
    kind: DeadLetterKind | None
    lane: str
    organization_id: str | None
    user_id: PlainId | None
    request_id: str | None
    alert_id: str | None
    reason: str
    error_code: str | None
    error: Annotated[str | None, Field(description="Numbers and addresses are masked")]
    attempts: int
    redrives: Annotated[int, Field(description="How many times it was sent again")]
    failed_at: Instant
    settled_at: Instant | None
    settled_by: PlainId | None
    refusal: Refusal | None


class RetryOrder(Shape):
    """`force` overrules objections: age, the number of redrives, an alert that has ended."""

    force: StrictBool = False
    max_age_h: Annotated[Hours, Field(description="Anything older is refused as stale")] = 24.0
    dry_run: Annotated[StrictBool, Field(description="Only say what would be sent")] = False


class RetryFilter(RetryOrder):
    """The oldest `limit` dead letters that match all fields and that nobody settled."""

    dry_run: Annotated[StrictBool, Field(description="Only say what would be sent")] = True
    kind: DeadLetterKind | None = None
    lane: Annotated[Code | None, Field(examples=["sms-critical"])] = None
    reason: Code | None = None
    error_code: Code | None = None
    user_id: Id | None = None
    since: Annotated[Instant | None, Field(description="Given up at or after this")] = None
    until: Annotated[Instant | None, Field(description="Given up before this")] = None
    after_failure_id: Annotated[FailureId | None, Field(description="`next_after` of the previous call")] = None
    limit: Annotated[int, Field(strict=True, ge=1, le=500)] = 100


class SentAgain(Shape):
    """What the relay sends to the workers, or in a dry run would send."""

    sent_to: Annotated[str, Field(examples=["sms-critical"], description="The topic")]
    redrives: int
    message_id: Annotated[str, Field(description="The record's `id` header, the same in every attempt")]


class RetriedLetter(SentAgain):
    failure_id: int
    letter: str


class RerunSms(SentAgain):
    request_id: str


class RetryItem(Shape):
    """One dead letter: sent again (in a dry run: would be), or refused."""

    failure_id: int
    letter: str
    again: SentAgain | None
    refusal: Refusal | None


class RetryReport(Shape):
    """In a dry run `sent_again` counts what would be sent."""

    dry_run: bool
    sent_again: int
    refused: int
    items: list[RetryItem]
    next_after: Annotated[int | None, Field(description="Pass it as `after_failure_id` to continue; null at the end")]
