"""The escalation chain of an organization."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.http.fields import Id, Shape


class EscalationChain(Shape):
    """Who is notified at level 1, 2, and so on; contacts that are not listed are at level 1."""

    levels: Annotated[
        list[Annotated[list[Id], Field(min_length=1, max_length=1_000)]],
        Field(max_length=20, examples=[[["ann"], ["bob", "eve"]]]),
    ]

    @model_validator(mode="after")
    def _each_user_once(self) -> Self:
        named = [user for level in self.levels for user in level]
        if len(set(named)) < len(named):
            raise ValueError("a user may be at one level only")
        return self
