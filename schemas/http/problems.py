"""Errors as RFC 9457 describes them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from schemas.http.fields import Shape


class InvalidPart(Shape):
    """What is wrong in a request, and where: a JSON pointer into the body, or a parameter's name."""

    pointer: str
    detail: str


class ProblemBody(BaseModel):
    """A problem document."""

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, Field(examples=["urn:freshtrack:not-found"])]
    title: Annotated[str, Field(examples=["Not found"])]
    status: Annotated[int, Field(strict=True, ge=400, le=599, examples=[404])]
    detail: Annotated[str, Field(examples=["There is no unit freezer-9."])]
    errors: list[InvalidPart] | None = None
