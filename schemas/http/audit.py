"""The audit trail as admins read it."""

from typing import Annotated

from pydantic import Field, JsonValue

from schemas.http.fields import Instant, PlainId, Shape


class AuditEntry(Shape):
    """One change: who made it, from where, and what the changed fields were before and after.

    Values of secrets are in no entry. Names, numbers and addresses of a person who was erased are missing.
    """

    entry_id: int
    at: Instant
    actor: Annotated[PlainId, Field(description="A contact, `key:` and a key's id, or another source")]
    origin: Annotated[str | None, Field(description="The address of the request, or the host of a command")]
    action: Annotated[str, Field(examples=["rule.changed"])]
    subject_kind: Annotated[str, Field(examples=["rule"])]
    subject_id: Annotated[PlainId, Field(examples=["freezer-1 high"])]
    before: dict[str, JsonValue] | None
    after: dict[str, JsonValue] | None
