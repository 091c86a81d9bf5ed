"""HTML from the templates, with the headers that every page has."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from api.pages.viewer import CSRF_FIELD
from domain.digest import words
from domain.digest.schedule import zone
from schemas.identity import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.pages.viewer import Viewer

HERE = Path(__file__).resolve().parent
STATIC = HERE / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; manifest-src 'self'"
)
# Without a referrer, browsers send the forms of these pages with the origin "null", as strangers' would be.
HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "same-origin"}
HTML = "text/html"


@cache
def static_path(name: str) -> str:
    """The address of a static file, with its digest, so that browsers may keep it for ever."""
    return f"/static/{hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:16]}/{name}"


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        static=static_path,
        csrf_field=CSRF_FIELD,
        temperature=words.temperature,
        limits=words.limits,
        duration=words.duration,
        time=time_element,
        sparkline=sparkline,
    )
    environment.filters["plain"] = plain
    return environment


def page(template: str, viewer: Viewer | None, status: HTTPStatus = HTTPStatus.OK, **shown: object) -> Response:
    """A page, or a part of one; `viewer` is None where nobody needs to be signed in."""
    html = _templates().get_template(template).render(viewer=viewer, **shown)
    return Response(html, status, HEADERS, HTML)


def part(template: str, **shown: object) -> str:
    """A piece of HTML."""
    return _templates().get_template(template).render(**shown)


def time_element(at_ms: int, timezone: str) -> Markup:
    """An instant in the organization's zone; the script shows it in the viewer's zone, with this one beside it."""
    iso = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")
    local = datetime.fromtimestamp(at_ms / 1000, zone(timezone))
    return Markup('<time datetime="{}">{} {}</time>').format(iso, words.moment(at_ms, timezone), local.tzname())


def sparkline(line: Sequence[float | None], low_c: float | None, high_c: float | None) -> Markup:
    """Two hours as a line in a box of 120 by 32, with the limits as dashes."""
    known = [value for value in line if value is not None]
    if len(known) < 2:
        return Markup("")
    edges = known + [limit for limit in (low_c, high_c) if limit is not None]
    least, most = min(edges) - 0.5, max(edges) + 0.5

    def y(celsius: float) -> str:
        return f"{31 - 30 * (celsius - least) / (most - least):.1f}"

    path: list[str] = []
    pen = "M"
    for x, value in enumerate(line):
        if value is None:
            pen = "M" if not path or x % 10 == 0 else pen
            continue
        path.append(f"{pen}{x} {y(value)}")
        pen = "L"
    dashes = "".join(f'<path class="limit" d="M0 {y(limit)}H120"/>' for limit in (low_c, high_c) if limit is not None)
    return Markup(  # noqa: S704 - numbers only
        f'<svg class="line" viewBox="0 0 120 32" preserveAspectRatio="none" aria-hidden="true">{dashes}'
        f'<path d="{"".join(path)}"/></svg>'
    )
