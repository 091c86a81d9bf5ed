"""How many parts an SMS has, which is what it costs.

A text whose characters all lie in the GSM-7 alphabet has 160 units in one part, or 153 in each of several; any other
is sent as UTF-16 with 70, or 67. The alphabet is Telnyx's ("Message encoding" in its developer pages), which is
narrower than the standard's: no Greek, no euro sign. Ten parts are the most that Telnyx accepts.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

GSM7 = frozenset(
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\n\r !\"#$%&'()*+,-./:;<=>?@[\\]^_{}|~"
    "£¥èéùìòØøÅåÆæßÉ¡ÄÖÑÜ¿äöñüà"
)
TWO_UNITS = frozenset("~^|\\{}[]")
"""Sent as an escape and a second unit."""

MAX_PARTS = 10


class Encoding(StrEnum):
    GSM7 = "GSM-7"
    UTF16 = "UCS-2"


_SINGLE = {Encoding.GSM7: 160, Encoding.UTF16: 70}
_MULTI = {Encoding.GSM7: 153, Encoding.UTF16: 67}


class Segments(NamedTuple):
    """`units`: septets in GSM-7, 16-bit units otherwise."""

    encoding: Encoding
    units: int
    parts: int

    @property
    def fits(self) -> bool:
        return self.parts <= MAX_PARTS


def is_gsm7(text: str) -> bool:
    return GSM7.issuperset(text)


def gsm7_units(text: str) -> int:
    """The septets of a text that `is_gsm7`."""
    return len(text) + sum(character in TWO_UNITS for character in text)


def segments(text: str) -> Segments:
    """The parts that `text` is sent in; an empty text has one."""
    if is_gsm7(text):
        encoding, widths = Encoding.GSM7, [2 if character in TWO_UNITS else 1 for character in text]
    else:
        encoding, widths = Encoding.UTF16, [2 if ord(character) > 0xFFFF else 1 for character in text]
    units = sum(widths)
    if units <= _SINGLE[encoding]:
        return Segments(encoding, units, 1)
    return Segments(encoding, units, _parts(widths, _MULTI[encoding]))


def _parts(widths: Iterable[int], room: int) -> int:
    """A pair of units is never torn: it moves to the next part, and a unit of this one stays empty."""
    parts, used = 1, 0
    for width in widths:
        if used + width > room:
            parts, used = parts + 1, 0
        used += width
    return parts
