"""API keys of an organization."""

from typing import Annotated

from pydantic import Field

from schemas.http.fields import Id, Instant, Line, PlainId, Shape
from schemas.roles import Role


class NewKey(Shape):
    name: Annotated[Line, Field(examples=["Gateway, warehouse 2"])]
    role: Role
    user_id: Annotated[
        Id | None, Field(description="The contact who uses the key: commands are recorded in this name")
    ] = None
    expires_at: Instant | None = None


class KeyView(NewKey):
    user_id: PlainId | None = None
    key_id: str
    created_at: Instant
    created_by: PlainId | None
    last_used_at: Annotated[Instant | None, Field(description="To the minute")]
    revoked_at: Instant | None


class MadeKey(KeyView):
    """A new key. `key` is never shown again."""

    key: Annotated[str, Field(examples=["ft.0123456789abcdef.…"])]
