"""What a mail shows, as text in sections, in the recipient's unit of temperature.

The HTML part, the text part and the PDF are made from the same view, so they cannot say different things.
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
    """A line of a table; `remark` stands below the first cell."""

    cells: tuple[str, ...]
    tone: Tone = Tone.PLAIN
    remark: str = ""


class Table(Struct, frozen=True):
    """The first `texts` columns hold text, the others figures; `left_out` says which rows are not shown, and where."""

    headers: tuple[str, ...]
    rows: tuple[Row, ...]
    left_out: str = ""
    texts: int = 1


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
