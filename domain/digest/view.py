"""What a mail shows, as text in sections, in the recipient's unit of temperature.

The HTML part, the text part and the PDF come from the same view, so they cannot contradict each other.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Tone(StrEnum):
    PLAIN = "plain"
    BAD = "bad"
    WARN = "warn"
    UNKNOWN = "unknown"
    GOOD = "good"


class Row(Struct, frozen=True):
    """A row of a table; `remark` stands below the first cell."""

    cells: tuple[str, ...]
    tone: Tone = Tone.PLAIN
    remark: str = ""


class Heading(Struct, frozen=True):
    """The head of a column; `width` is its share beside the other columns, where a medium has fixed widths."""

    title: str
    is_text: bool = False
    width: float = 1.0


class Table(Struct, frozen=True):
    """`left_out` says which rows are missing, and where to find them."""

    headings: tuple[Heading, ...]
    rows: tuple[Row, ...]
    left_out: str = ""


class Picture(Struct, frozen=True):
    """A chart by its content id; `alt` says what it shows."""

    cid: str
    title: str
    alt: str


class Section(Struct, frozen=True):
    title: str
    lead: str = ""
    table: Table | None = None
    pictures: tuple[Picture, ...] = ()


class Tile(Struct, frozen=True):
    """One of the headline numbers."""

    label: str
    value: str
    tone: Tone = Tone.PLAIN


class View(Struct, frozen=True, kw_only=True):
    subject: str
    title: str
    organization: str
    period: str
    verdict: str
    tone: Tone
    tiles: tuple[Tile, ...]
    notes: tuple[str, ...]
    sections: tuple[Section, ...]
    explanations: tuple[str, ...]
    timezone: str
