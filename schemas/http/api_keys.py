"""API keys of an organization."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.http.fields import Id, Instant, Line, PlainId, Shape
from schemas.roles import Role


class NewKey(Shape):
    name: Annotated[Line, Field(examples=["Gateway, warehouse 2"])]
    role: Role
    user_id: Annotated[
        Id | None, Field(description="The contact who uses the key: commands are recorded in this name")
    ] = None
    gateway_id: Annotated[
        Id | None, Field(description="With the role gateway: only readings of this gateway's units")
    ] = None
    unit_id: Annotated[Id | None, Field(description="With the role gateway: only readings of this unit")] = None
    expires_at: Instant | None = None

    @model_validator(mode="after")
    def _only_devices_are_bound(self) -> Self:
        if self.gateway_id is None and self.unit_id is None:
            return self
        if self.role is not Role.GATEWAY or None not in (self.gateway_id, self.unit_id):
            raise ValueError("gateway_id or unit_id, not both, binds a key with the role gateway and no other")
        return self


class KeyView(NewKey):
    user_id: PlainId | None = None
    unit_id: PlainId | None = None
    key_id: str
    created_at: Instant
    created_by: PlainId | None
    last_used_at: Annotated[Instant | None, Field(description="To the minute")]
    revoked_at: Instant | None


class MadeKey(KeyView):
    """A new key. `key` is never shown again."""

    key: Annotated[str, Field(examples=["ft.0123456789abcdef.…"])]
