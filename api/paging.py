"""Lists in pages: a cursor is the sort key of the last row, so that pages neither skip nor repeat while rows come."""

import base64
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, TypeVar

from fastapi import Query
from pydantic import BaseModel

from api.problems import Problem, invalid
from database.declarative import from_ms
from schemas.http.paging import Page

Row = TypeVar("Row")
View = TypeVar("View", bound=BaseModel)

Limit = Annotated[int, Query(ge=1, le=200, description="Rows in a page")]
Cursor = Annotated[
    str | None, Query(max_length=400, description="`next_cursor` of the page before; leave it out for the first page")
]


def cursor_of(*key: str | int) -> str:
    """The position behind a row with this sort key."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def _no_cursor() -> Problem:
    return invalid("cursor", "none that this list gave; begin without one")


def position(cursor: str | None, *kinds: type) -> list[str | int] | None:
    """The sort key in a cursor; None for the start. Raises Problem when it is none of ours."""
    if cursor is None:
        return None
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        key = None
    fits = isinstance(key, list) and [type(part) for part in key] == list(kinds)
    if not fits or any(isinstance(part, str) and not part.isprintable() for part in key):
        raise _no_cursor()
    parts: list[str | int] = key
    if any(isinstance(part, int) and abs(part) > 2**52 for part in parts):
        raise _no_cursor()
    return parts


def instant(part: str | int) -> datetime:
    """A time in a cursor, which counts milliseconds. Raises Problem when there is no such time."""
    try:
        return from_ms(int(part))
    except (ValueError, OverflowError, OSError):
        raise _no_cursor() from None


def page(rows: Sequence[Row], limit: int, view: Callable[[Row], View], key: Callable[[Row], str]) -> Page[View]:
    """Of `limit + 1` rows that were asked for, the first `limit`; the last one only tells that there is more."""
    more = len(rows) > limit
    shown = rows[:limit]
    return Page[View](items=[view(row) for row in shown], next_cursor=key(shown[-1]) if more else None)
