"""A column is declared once: one entry shows it in HTML, text and PDF."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from domain.digest import unit_tables
from domain.digest.columns import Column, Context, Limit
from domain.digest.unit_tables import UnitColumn, compliance_table, limits_and_doubt, out_of_range, units_table
from schemas.messages import Cadence
from streams.digests.report import pdf
from streams.digests.report.render import render
from tests.streams.digests.mail_samples import digest_of

if TYPE_CHECKING:
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph


def test_one_entry_adds_a_column_to_html_text_and_pdf(monkeypatch: pytest.MonkeyPatch) -> None:
    depth = UnitColumn(Column("Depth", lambda unit, _: f"{unit.readings} fathoms", width=2.0))
    monkeypatch.setattr(unit_tables, "UNIT_COLUMNS", (*unit_tables.UNIT_COLUMNS, depth))
    printed: list[str] = []
    written = pdf._text

    def write(text: str, style: ParagraphStyle) -> Paragraph:
        printed.append(text)
        return written(text, style)

    monkeypatch.setattr(pdf, "_text", write)
    for cadence in (Cadence.DAILY, Cadence.WEEKLY):
        rendered = render(digest_of(cadence), "C")
        readings = digest_of(cadence).units[0].readings
        for part in (rendered.html, rendered.text):
            assert "Depth" in part
            assert f"{readings} fathoms" in part
    assert "Depth" in printed
    assert f"{readings} fathoms" in printed


def test_tables_of_units_have_their_columns_in_one_order() -> None:
    context = Context(digest_of(Cadence.WEEKLY), "C")
    units = units_table(context.digest.units, context, Limit(9, ""))
    judged = compliance_table(context, Limit(9, ""))
    assert [heading.title for heading in units.headings] == [
        "Unit", "Min", "Mean", "Max", "MKT", "Out of range", "Coverage",
    ]  # fmt: skip
    assert [heading.title for heading in judged.headings] == [
        "Unit", "Verdict", "Min", "Max", "MKT", "Out of range", "Excursions", "Coverage",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"above_ms": 60_000, "why_not_graded": "too few readings"}, "1\N{NO-BREAK SPACE}min"),
        ({"above_ms": 0}, "none"),
        ({"above_ms": 0, "why_not_graded": "too few readings"}, "none measured"),
        ({"above_ms": 0, "covered_ms": 0}, "not graded"),
        ({"above_ms": 0, "high_c": None, "low_c": None}, "not graded"),
        ({"above_ms": 0, "high_c": None, "low_c": 1.0}, "none"),
        ({"above_ms": 60_000, "covered_ms": 0}, "1\N{NO-BREAK SPACE}min"),
    ],
)
def test_no_time_out_of_range_says_whether_it_was_measured(changes: dict[str, object], shown: str) -> None:
    unit = msgspec.structs.replace(digest_of(Cadence.DAILY).units[0], **changes)
    assert out_of_range(unit) == shown


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, "at most 5.0 °C"),
        ({"low_c": 1.0}, "1.0 °C to 5.0 °C"),
        ({"why_not_graded": "no readings"}, "at most 5.0 °C; no readings"),
        ({"high_c": None, "why_not_graded": "no limits are set"}, "no limits are set"),
        ({"high_c": None}, ""),
        ({"high_c": None, "low_c": 1.0}, "at least 1.0 °C"),
    ],
)
def test_limits_stand_beside_the_reason_for_doubt(changes: dict[str, object], shown: str) -> None:
    unit = msgspec.structs.replace(digest_of(Cadence.DAILY).units[0], **changes)
    assert limits_and_doubt(unit, "C").replace("\N{NO-BREAK SPACE}", " ") == shown
