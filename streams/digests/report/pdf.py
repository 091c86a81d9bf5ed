"""The weekly compliance report as PDF: every unit, excursion and gap, with lines to write on.

The same digest gives the same bytes: the only time in the report is the digest's.
"""

from __future__ import annotations

from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4, LETTER
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, KeepTogether, LongTable, Paragraph, SimpleDocTemplate, Spacer, TableStyle

from domain.digest import headline, tables, words
from domain.digest.cadences import CADENCES
from domain.digest.columns import Context, Limit, left_out
from domain.digest.compliance import sentence
from domain.digest.unit_tables import compliance_table
from domain.digest.view import Tone
from schemas import messages as m
from streams.digests.report.fonts import fonts

if TYPE_CHECKING:
    from domain.digest.facts import AlertRecord, Digest
    from domain.digest.view import Table

MARGIN = 16 * mm
# A report of a broken fleet stays printable.
EXCURSIONS_AT_MOST = 200
GAPS_AT_MOST = 500
TEMPERATURE = (m.AlertKind.TEMPERATURE_HIGH, m.AlertKind.TEMPERATURE_LOW)
NOT_SHOWN = "are not shown here"
INK = colors.HexColor("#1c2733")
SOFT = colors.HexColor("#51606f")
LINES = colors.HexColor("#cfd7e0")
HEAD = colors.HexColor("#eef1f5")
TONES = {
    Tone.BAD: colors.HexColor("#b3231b"),
    Tone.WARN: colors.HexColor("#8a5a00"),
    Tone.UNKNOWN: SOFT,
    Tone.GOOD: colors.HexColor("#1a6b38"),
    Tone.PLAIN: INK,
}


def compliance_pdf(digest: Digest, display_unit: str) -> bytes:
    """The report, on RenderedDigest paper where temperatures are shown in °F, else on A4."""
    context = Context(digest, display_unit)
    out = BytesIO()
    paper = LETTER if display_unit == "F" else A4
    title = words.subject(digest.period.cadence, digest.organization_name)
    document = SimpleDocTemplate(
        out,
        pagesize=paper,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN + 4 * mm,
        title=title,
        author="FreshTrack Stream",
        invariant=1,
    )
    # A frame keeps 6 points free on each side.
    width = paper[0] - 2 * MARGIN - 12
    story = [
        *_head(digest),
        *_units(context, width),
        *_excursions(context, width),
        *_gaps(context, width),
        *_signature(),
    ]
    document.build(story, canvasmaker=_Numbered)
    return out.getvalue()


def _style(
    name: str, size: float, *, bold: bool = False, color: colors.Color = INK, before: float = 0
) -> ParagraphStyle:
    typefaces = fonts()
    return ParagraphStyle(
        name,
        fontName=typefaces.bold if bold else typefaces.regular,
        fontSize=size,
        leading=size * 1.3,
        textColor=color,
        spaceBefore=before,
        spaceAfter=2,
    )


def _text(text: str, style: ParagraphStyle) -> Paragraph:
    return Paragraph(escape(fonts().shown(text)), style)


def _head(digest: Digest) -> list[Flowable]:
    period = digest.period
    verdict, tone = sentence(digest)
    soft = _style("soft", 9, color=SOFT)
    numbers = digest.numbers
    return [
        _text(digest.organization_name, soft),
        _text(CADENCES[period.cadence].title, _style("title", 17, bold=True)),
        _text(f"{words.period_name(period)}, local days of {period.timezone}", _style("period", 11)),
        _text(verdict, _style("verdict", 11, bold=True, color=TONES[tone], before=6)),
        _text(
            f"{words.count(numbers.total_readings, 'reading')} of {words.count(numbers.units_monitored, 'unit')}, "
            f"{words.count(numbers.total_alerts, 'alert')} of which {numbers.critical_alerts:,} critical. "
            f"Made on {words.moment(digest.as_of_ms, period.timezone)}.",
            soft,
        ),
        *(_text(note, _style("note", 9, bold=True, color=TONES[Tone.WARN])) for note in headline.notes(digest)),
    ]


def _units(context: Context, width: float) -> list[Flowable]:
    table = compliance_table(context, Limit(len(context.digest.units), ""))
    return [
        _text("Compliance by unit", _style("h2", 12, bold=True, before=10)),
        _grid(table, width),
        _text(headline.ABOUT_COVERAGE, _style("small", 7.5, color=SOFT, before=4)),
        _text(headline.ABOUT_KINETIC, _style("small", 7.5, color=SOFT)),
    ]


def _excursions(context: Context, width: float) -> list[Flowable]:
    digest = context.digest
    found = [alert for alert in digest.alerts if alert.kind in TEMPERATURE]
    story: list[Flowable] = [_text("Excursions and corrective action", _style("h2", 12, bold=True, before=12))]
    plain = _style("plain", 9)
    alerted = {alert.unit_id for alert in found}
    brief = [unit for unit in digest.units if unit.excursions and unit.unit_id not in alerted]
    if not found and not brief:
        return [*story, _text("No excursion was measured.", plain)]
    for alert in found[:EXCURSIONS_AT_MOST]:
        table = tables.alerts_table([alert], context, Limit(1, ""))
        story.append(KeepTogether([_grid(table, width), *_action(alert), Spacer(1, 3 * mm)]))
    if more := left_out(len(found) - EXCURSIONS_AT_MOST, "excursion", NOT_SHOWN):
        story.append(_text(f"… {more}.", plain))
    if brief:
        names = ", ".join(f"{unit.name} ({unit.excursions})" for unit in brief[:EXCURSIONS_AT_MOST])
        story.append(_text(f"Out of range too briefly for an alert: {names}.", plain))
    return story


def _action(alert: AlertRecord) -> list[Flowable]:
    if alert.corrective_action:
        return [_text(f"Corrective action: {alert.corrective_action}", _style("plain", 9))]
    return [_line("Corrective action:", 0.62), _line("Done by, date:", 0.62)]


def _gaps(context: Context, width: float) -> list[Flowable]:
    table = tables.gaps_table(context, Limit(GAPS_AT_MOST, NOT_SHOWN))
    heading = _text("Gaps: time without readings, not graded", _style("h2", 12, bold=True, before=12))
    if not table.rows:
        return [heading, _text("Readings cover the whole period of every unit.", _style("plain", 9))]
    more = [_text(f"… {table.left_out}.", _style("plain", 9))] if table.left_out else []
    return [heading, _grid(table, width), *more]


def _signature() -> list[Flowable]:
    heading = _text("Reviewed", _style("h2", 12, bold=True, before=14))
    return [KeepTogether([heading, *(_line(label, 0.62) for label in ("Name:", "Signature:", "Date:"))])]


def _grid(table: Table, width: float) -> LongTable:
    head, plain, small = _style("th", 7.5, bold=True, color=SOFT), _style("td", 8), _style("tr", 7, color=SOFT)
    toned = {tone: _style(f"td-{tone}", 8, bold=True, color=color) for tone, color in TONES.items()}
    rows: list[list[Flowable | list[Flowable]]] = [[_text(heading.title, head) for heading in table.headings]]
    for row in table.rows:
        first: list[Flowable] = [_text(row.cells[0], toned[row.tone])]
        if row.remark:
            first.append(_text(row.remark, small))
        rows.append([first, *(_text(cell, plain) for cell in row.cells[1:])])
    style = TableStyle(
        [
            ("BACKGROUND", (0, 0), (-1, 0), HEAD),
            ("LINEBELOW", (0, 0), (-1, -1), 0.5, LINES),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LEFTPADDING", (0, 0), (-1, -1), 3),
            ("RIGHTPADDING", (0, 0), (-1, -1), 3),
            ("TOPPADDING", (0, 0), (-1, -1), 2),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
        ]
    )
    whole = sum(heading.width for heading in table.headings)
    widths = [heading.width / whole * width for heading in table.headings]
    return LongTable(rows, colWidths=widths, repeatRows=1, style=style)


class _WritingLine(Flowable):
    """A label with a line to write on."""

    def __init__(self, label: str, share: float) -> None:
        super().__init__()
        self._label, self._share, self._width = label, share, 0.0

    def wrap(self, available_width: float, available_height: float) -> tuple[float, float]:  # noqa: ARG002
        self._width = available_width
        return available_width, 8 * mm

    def draw(self) -> None:
        canvas = self.canv
        canvas.setFont(fonts().regular, 9)
        canvas.setFillColor(INK)
        canvas.drawString(0, 2 * mm, self._label)
        canvas.setStrokeColor(SOFT)
        canvas.setLineWidth(0.5)
        canvas.line(34 * mm, 1.5 * mm, 34 * mm + self._share * self._width, 1.5 * mm)


def _line(label: str, share: float) -> Flowable:
    return _WritingLine(label, share)


class _Numbered(Canvas):
    """Writes "page 2 of 5" when all pages are known."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._pages: list[dict[str, object]] = []

    def showPage(self) -> None:  # noqa: N802
        self._pages.append(dict(self.__dict__))
        self._startPage()  # type: ignore[attr-defined]

    def save(self) -> None:
        for number, page in enumerate(self._pages, start=1):
            self.__dict__.update(page)
            self.setFont(fonts().regular, 8)
            self.setFillColor(SOFT)
            self.drawRightString(self._pagesize[0] - MARGIN, 9 * mm, f"page {number} of {len(self._pages)}")  # type: ignore[attr-defined]
            super().showPage()
        super().save()
