"""A rendered digest: HTML with inlined styles, a text part from the same view, charts, and the weekly PDF."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

import css_inline
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from domain.digest.analytics import CHART
from domain.digest.cadences import CADENCES, Layout
from domain.digest.mails import UNIT_ROWS, view
from domain.digest.words import NBSP
from streams.digests.report.charts import curve_png, days_png
from streams.digests.report.pdf import compliance_pdf
from streams.digests.report.rendered_digest import UNSUBSCRIBE, Enclosure, RenderedDigest

if TYPE_CHECKING:
    from domain.digest.facts import Digest

TEMPLATES = Path(__file__).resolve().with_name("templates")
# Gmail cuts off what is longer.
HTML_AT_MOST = 102 * 1024


class TooLongError(ValueError):
    """The HTML part would be cut off by mail programs."""


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=False,
        keep_trailing_newline=True,
    )


@lru_cache(maxsize=1)
def _inliner() -> css_inline.CSSInliner:
    # Nothing is fetched: all styles stand in the template.
    return css_inline.CSSInliner(load_remote_stylesheets=False)


def render(digest: Digest, display_unit: str) -> RenderedDigest:
    """Render once for all recipients who see the same unit of temperature ("C" or "F").

    Shows fewer units where long names would make the HTML part longer than 102 KB; raises TooLongError when even a
    handful does not fit.
    """
    for unit_rows in (UNIT_ROWS, UNIT_ROWS // 2, UNIT_ROWS // 4, UNIT_ROWS // 12):
        shown = view(digest, display_unit, unit_rows)
        html = _inliner().inline(
            _templates().get_template("digest.html.j2").render(view=shown, unsubscribe=UNSUBSCRIBE)
        )
        if len(html.encode()) <= HTML_AT_MOST:
            break
    else:
        raise TooLongError(f"the HTML part exceeds {HTML_AT_MOST:,} bytes even with {unit_rows} units; are names sane?")
    text = _templates().get_template("digest.txt.j2").render(view=shown, unsubscribe=UNSUBSCRIBE).replace(NBSP, " ")
    return RenderedDigest(shown.subject, html, text, tuple(_enclosures(digest, display_unit)))


def _enclosures(digest: Digest, display_unit: str) -> list[Enclosure]:
    period = digest.period
    layout = CADENCES[period.cadence].layout
    match layout:
        case Layout.OVERVIEW:
            return _curves(digest, display_unit)
        case Layout.COMPLIANCE:
            name = f"compliance-{period.first.isoformat()}.pdf"
            report = Enclosure(name, "application/pdf", compliance_pdf(digest, display_unit))
            return [*_curves(digest, display_unit), report]
        case Layout.ANALYTICS:
            return [Enclosure("days.png", "image/png", days_png(digest.days, period), CHART)]
        case _:
            assert_never(layout)


def _curves(digest: Digest, display_unit: str) -> list[Enclosure]:
    return [
        Enclosure(f"curve-{n}.png", "image/png", curve_png(curve, digest.period, display_unit), f"curve-{n}")
        for n, curve in enumerate(digest.curves)
    ]
