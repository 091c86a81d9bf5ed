"""Contacts: the people who are notified."""

from typing import Annotated

from pydantic import Field, StrictBool

from schemas.http.fields import Id, Instant, Line, PlainId, Shape
from schemas.messages import Severity

PHONE_PATTERN = r"^\+[1-9]\d{1,14}$"
Phone = Annotated[str, Field(pattern=PHONE_PATTERN, examples=["+12025550101"])]
Email = Annotated[
    str,
    Field(
        max_length=254, pattern=r"^[^@\s\x00-\x1f\x7f-\x9f]+@[^@\s\x00-\x1f\x7f-\x9f.]+(\.[^@\s\x00-\x1f\x7f-\x9f.]+)+$"
    ),
]


class ContactBody(Shape):
    name: Annotated[Line, Field(examples=["Ann"])]
    phone_e164: Phone | None = None
    email: Email | None = None
    minimum_severity: Severity = Severity.WARNING
    on_duty: StrictBool = True


class NewContact(ContactBody):
    user_id: Id | None = Field(None, description="Chosen by us when null")


class ContactView(Shape):
    """In lists, and for members, numbers and addresses are masked."""

    user_id: PlainId
    name: str
    phone_e164: Annotated[str | None, Field(examples=["+1202•••0101"])]
    email: Annotated[str | None, Field(examples=["a•••@example.com"])]
    minimum_severity: Severity
    on_duty: bool
    escalation_level: int
    sms_opted_out: bool
    created_at: Instant
