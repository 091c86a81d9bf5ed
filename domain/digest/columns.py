"""A table's columns, declared once for HTML, text and PDF."""

from __future__ import annotations

from collections.abc import Callable, Sequence  # noqa: TC003 - msgspec reads the annotations
from typing import Generic, TypeVar

from msgspec import Struct

from domain.digest import words
from domain.digest.facts import Digest  # noqa: TC001 - same
from domain.digest.view import Heading, Row, Table, Tone

T = TypeVar("T")


class Context(Struct, frozen=True):
    """What a cell depends on beside the item of its row."""

    digest: Digest
    display_unit: str

    def temperature(self, celsius: float | None, beside_c: float | None = None) -> str:
        return words.temperature(celsius, self.display_unit, beside_c)

    def moment(self, at_ms: int) -> str:
        return words.moment(at_ms, self.digest.period.timezone)

    def stretch(self, starts_at_ms: int, ends_at_ms: int) -> str:
        return words.stretch(starts_at_ms, ends_at_ms, self.digest.period.timezone)


class Column(Struct, Generic[T], frozen=True):
    """A heading, and how an item's cell reads. Figures are right-aligned, texts are not."""

    title: str
    cell: Callable[[T, Context], str]
    is_text: bool = False
    width: float = 1.0


class Limit(Struct, frozen=True):
    """How many rows a table may have, and where the others are."""

    rows: int
    elsewhere: str


def left_out(more: int, what: str, where: str) -> str:
    return f"and {words.count(more, f'more {what}')} {where}" if more > 0 else ""


def table(
    columns: Sequence[Column[T]],
    items: Sequence[T],
    context: Context,
    limit: Limit,
    what: str,
    *,
    tone: Callable[[T], Tone] = lambda _: Tone.PLAIN,
    remark: Callable[[T], str] = lambda _: "",
) -> Table:
    """A row for each of the first items; `what` is the word for one of them."""
    return Table(
        headings=tuple(Heading(column.title, column.is_text, column.width) for column in columns),
        rows=tuple(
            Row(tuple(column.cell(item, context) for column in columns), tone(item), remark(item))
            for item in items[: limit.rows]
        ),
        left_out=left_out(len(items) - limit.rows, what, limit.elsewhere),
    )
