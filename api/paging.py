"""Lists in pages: a cursor is the sort key of the last row, so that pages neither skip nor repeat as rows come in."""

import base64
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel
from sqlalchemy import DateTime, Integer, Select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from api.problems import Problem, invalid
from database.declarative import Row as DatabaseRow
from database.declarative import from_ms, to_ms
from schemas.http.paging import Page

Row = TypeVar("Row")
TableRow = TypeVar("TableRow", bound=DatabaseRow)
View = TypeVar("View", bound=BaseModel)

Limit = Annotated[int, Query(ge=1, le=200, description="Rows in a page")]
Cursor = Annotated[
    str | None, Query(max_length=400, description="`next_cursor` of the page before; leave it out for the first page")
]


def cursor_of(*key: str | int) -> str:
    """The position behind a row with this sort key."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def _no_cursor() -> Problem:
    return invalid("cursor", "this list did not give this cursor; start without one")


def position(cursor: str | None, *kinds: type) -> list[str | int] | None:
    """The sort key in a cursor; None for the start. Raises Problem for a cursor that no list gave."""
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
    """A time in a cursor, in milliseconds. Raises Problem when it is out of range."""
    try:
        return from_ms(int(part))
    except (ValueError, OverflowError, OSError):
        raise _no_cursor() from None


def page(rows: Sequence[Row], limit: int, view: Callable[[Row], View], key: Callable[[Row], str]) -> Page[View]:
    """The first `limit` of up to `limit + 1` rows; the extra one only shows that there are more."""
    more = len(rows) > limit
    shown = rows[:limit]
    return Page[View](items=[view(row) for row in shown], next_cursor=key(shown[-1]) if more else None)


class _Wanted(NamedTuple):
    """Which page of a list a request asks for."""

    limit: int
    cursor: str | None


def _wanted(limit: Limit = 50, cursor: Cursor = None) -> _Wanted:
    return _Wanted(limit, cursor)


Wanted = Annotated[_Wanted, Depends(_wanted)]


class Found(NamedTuple, Generic[TableRow]):
    """The rows of a page, and one more where the list goes on."""

    rows: Sequence[TableRow]
    limit: int
    order: "Order"

    def page(self, view: Callable[[TableRow], View]) -> Page[View]:
        return page(self.rows, self.limit, view, self.order.cursor_of)


class Order:
    """The order of a list: by columns that together name one row."""

    def __init__(self, *columns: InstrumentedAttribute[Any], newest_first: bool = False) -> None:
        self._columns = columns
        self._newest_first = newest_first
        self._are_times = [isinstance(column.type, DateTime) for column in columns]
        self._kinds = [int if isinstance(column.type, DateTime | Integer) else str for column in columns]

    async def find(self, session: AsyncSession, rows: Select[TableRow], wanted: _Wanted) -> Found[TableRow]:
        """The page of `rows` that a request asks for. Raises Problem (422) for a cursor of another list."""
        after = position(wanted.cursor, *self._kinds)
        if after is not None:
            last = [instant(part) if is_time else part for part, is_time in zip(after, self._are_times, strict=True)]
            key = tuple_(*self._columns)
            rows = rows.where(key < tuple_(*last) if self._newest_first else key > tuple_(*last))
        order = [column.desc() if self._newest_first else column.asc() for column in self._columns]
        return Found(list(await session.scalars(rows.order_by(*order).limit(wanted.limit + 1))), wanted.limit, self)

    def cursor_of(self, row: DatabaseRow) -> str:
        """The position behind `row`."""
        values = (getattr(row, column.key) for column in self._columns)
        return cursor_of(*(to_ms(value) if isinstance(value, datetime) else value for value in values))
