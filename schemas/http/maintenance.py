"""Maintenance windows of units."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.http.fields import Id, Instant, Line, PlainId, Shape


class MaintenanceBody(Shape):
    """A period in which the unit pages nobody; the start is included, the end is not."""

    starts_at: Instant
    ends_at: Instant
    reason: Annotated[Line, Field(examples=["Defrost"])]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.ends_at <= self.starts_at:
            raise ValueError("ends_at must be later than starts_at")
        return self


class MaintenanceView(MaintenanceBody):
    window_id: Id
    unit_id: PlainId
    created_at: Instant
