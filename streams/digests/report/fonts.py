"""The typefaces of PDF reports: the system's DejaVu if installed, else the Vera that comes with reportlab."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import reportlab
from msgspec import Struct
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

if TYPE_CHECKING:
    from collections.abc import Mapping

# Regular and bold: where Debian and Fedora put DejaVu, which has 5,000 characters more than Vera.
_PLACES = (
    ("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf"),
    ("/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf", "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans-Bold.ttf"),
)


class Fonts(Struct, frozen=True):
    """Names under which reportlab knows the typefaces, and the characters that the regular one has."""

    regular: str
    bold: str
    known: Mapping[int, int]

    def shown(self, text: str) -> str:
        """The text with a question mark for each character that would print as a box."""
        return "".join(char if char == "\n" or ord(char) in self.known else "?" for char in text)


@lru_cache(maxsize=1)
def fonts() -> Fonts:
    """Register the typefaces once a process."""
    brought = Path(reportlab.__file__).parent / "fonts"
    regular, bold = next(
        (pair for pair in _PLACES if all(Path(path).exists() for path in pair)),
        (str(brought / "Vera.ttf"), str(brought / "VeraBd.ttf")),
    )
    face = TTFont("report", regular)
    pdfmetrics.registerFont(face)
    pdfmetrics.registerFont(TTFont("report-bold", bold))
    pdfmetrics.registerFontFamily(
        "report", normal="report", bold="report-bold", italic="report", boldItalic="report-bold"
    )
    return Fonts("report", "report-bold", face.face.charToGlyph)
