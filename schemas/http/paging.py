"""A page of a list."""

from typing import Generic, TypeVar

from schemas.http.fields import Shape

T = TypeVar("T")


class Page(Shape, Generic[T]):
    """Part of a list; `next_cursor` asks for the next page and is null on the last one."""

    items: list[T]
    next_cursor: str | None = None
